"""The service that geogate replaces, as small as it can be and still do what that one did.

A Flask application that keeps ranges and answers in memory and looks an address up by bisection.
Run by gunicorn with gevent workers, as documented. PLACES names a CSV file as `geogate db convert`
writes it.
"""

import bisect
import csv
import ipaddress
import os

from flask import Flask, jsonify, request

app = Flask(__name__)
firsts, places = [], []

with open(os.environ["PLACES"], encoding="utf-8", newline="") as file:
    known = {}
    for row in csv.DictReader(file):
        if ":" in row["start"]:
            continue
        fields = (row["country"], "None", row["province"], "None", row["city"], "None", "", row["isp"])
        firsts.append(int(ipaddress.IPv4Address(row["start"])))
        places.append(known.setdefault(fields, fields))


def answer(ip):
    try:
        address = int(ipaddress.IPv4Address(ip))
    except ValueError:
        return jsonify(error=f"{ip} is not a ip"), 400
    return jsonify(places[bisect.bisect_right(firsts, address) - 1])


@app.get("/api/ip_query")
def query_get():
    return answer(request.values.get("ip"))


@app.post("/api/ip_query")
def query_post():
    return answer(request.json["ip"])
