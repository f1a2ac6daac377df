"""DB-IP's countries as CSV, which is looked up here by bisection; as they are and in gzip."""

import bisect
import csv
import gzip
import ipaddress

import oracle

PACKAGES = []
DATA = "@ip-location-db/dbip-country@2.3.2026060120"


def sources(folder):
    package = oracle.npm(folder, DATA) / "package"
    for family in ("ipv4", "ipv6"):
        file = package / f"dbip-country-{family}.csv"
        yield source(f"DB-IP Country, {family}", file, file)
    packed = folder / "dbip-country-ipv4.csv.gz"
    packed.write_bytes(gzip.compress(file.with_name("dbip-country-ipv4.csv").read_bytes(), mtime=0))
    yield source("the same in gzip, ipv4", packed, file.with_name("dbip-country-ipv4.csv"))


def source(name, file, text):
    starts, ends, codes = [], [], []
    with text.open(newline="") as lines:
        for start, end, code in csv.reader(lines):
            starts.append(ipaddress.ip_address(start))
            ends.append(ipaddress.ip_address(end))
            codes.append(code)
    order = sorted(range(len(starts)), key=starts.__getitem__)
    starts, ends, codes = ([column[at] for at in order] for column in (starts, ends, codes))
    version = starts[0].version

    def answer(ip):
        address = ipaddress.ip_address(ip)
        if address.version != version:
            return None
        at = bisect.bisect_right(starts, address) - 1
        if at < 0 or address > ends[at]:
            return None
        return {"country_code": codes[at]}

    boundaries = (str(end) for pair in zip(starts, ends) for end in pair)
    return oracle.Source(name, file, boundaries, answer)
