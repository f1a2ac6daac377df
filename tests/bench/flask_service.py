"""The service that geogate replaces, as small as it can be and still work as that one did.

A Flask application that keeps, for every first octet, a balanced tree of tuples in memory, and walks
it by recursion. Run by gunicorn with gevent workers behind nginx, as documented. PLACES names a CSV
file as `geogate db convert` writes it. Unlike the original it knows every range.
"""

import csv
import ipaddress
import os
import re
from socket import inet_aton

from flask import Flask, jsonify, request

IP = re.compile(r"(\d{1,3}\.){3}\d{1,3}")


def tree(ranges):
    """(first address, place, left, right): what starts before the address is in the left tree."""
    if not ranges:
        return None
    middle = len(ranges) // 2
    first, place = ranges[middle]
    return first, place, tree(ranges[:middle]), tree(ranges[middle + 1 :])


def load(path):
    octets, known = {}, {}
    with open(path, encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if ":" in row["start"]:
                continue
            fields = (row["country"], "None", row["province"], "None", row["city"], "None", "", row["isp"])
            place = known.setdefault(fields, fields)
            start, end = (int(ipaddress.IPv4Address(row[key])) for key in ("start", "end"))
            for octet in range(start >> 24, (end >> 24) + 1):
                first = max(start, octet << 24)
                octets.setdefault(octet, []).append((first.to_bytes(4, "big"), place))
    return {octet: tree(ranges) for octet, ranges in octets.items()}


def walk(address, node, found=None):
    if node is None:
        return found
    first, place, left, right = node
    if address < first:
        return walk(address, left, found)
    return walk(address, right, place)


app = Flask(__name__)
trees = load(os.environ["PLACES"])


def answer(ip):
    if not ip or not IP.fullmatch(ip):
        return jsonify(error=f"{ip} is not a ip"), 400
    place = walk(inet_aton(ip), trees.get(int(ip.split(".")[0])))
    if place is None:
        return jsonify(error=f"no ip info in ip db for ip: {ip}"), 501
    return jsonify(place)


@app.get("/api/ip_query")
def query_get():
    return answer(request.values.get("ip"))


@app.post("/api/ip_query")
def query_post():
    return answer(request.json["ip"])
