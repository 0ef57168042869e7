#!/usr/bin/env python3
"""client.py -- how the Python benchmark tools measure: asyncio, aiohttp, JSON of each event, the time taken when the event is read.

    client.py URL CONNECTIONS SECONDS [--stream] [--body FILE]

As many callers as connections, each one request after the other over kept connections. Prints one JSON object, times in ns, percentiles by nearest rank.
Beside weir load in bench/measuring.py."""

import argparse
import asyncio
import json
import math
import time

import aiohttp


def quantiles(values):
    values.sort()

    def at(share):
        return values[max(0, math.ceil(share * len(values)) - 1)] if values else None

    return {"count": len(values), "p50": at(0.5), "p99": at(0.99)}


class Client:
    def __init__(self, options):
        self.options = options
        self.total, self.ttft, self.gaps = [], [], []
        self.failed = 0
        with open(options.body, "rb") as f:
            self.body = f.read()

    async def stream(self, response, begin):
        last = None
        async for line in response.content:
            if not line.startswith(b"data: ") or line.startswith(b"data: [DONE]"):
                continue
            now = time.perf_counter_ns()
            event = json.loads(line[6:])
            if not event["choices"] or not event["choices"][0]["delta"].get("content"):
                continue
            if last is None:
                self.ttft.append(now - begin)
            else:
                self.gaps.append(now - last)
            last = now

    async def caller(self, session, end):
        headers = {"content-type": "application/json"}
        while time.perf_counter() < end:
            begin = time.perf_counter_ns()
            async with session.post(self.options.url, data=self.body, headers=headers) as response:
                if response.status != 200:
                    self.failed += 1
                    await response.read()
                    continue
                if self.options.stream:
                    await self.stream(response, begin)
                else:
                    json.loads(await response.read())
            self.total.append(time.perf_counter_ns() - begin)

    async def run(self):
        connector = aiohttp.TCPConnector(limit=0)
        timeout = aiohttp.ClientTimeout(total=None)
        async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
            end = time.perf_counter() + self.options.seconds
            await asyncio.gather(*(self.caller(session, end) for _ in range(self.options.connections)))
        return {"requests": len(self.total), "failed": self.failed, "total": quantiles(self.total),
                "ttft": quantiles(self.ttft), "gap": quantiles(self.gaps)}


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    p.add_argument("url")
    p.add_argument("connections", type=int)
    p.add_argument("seconds", type=float)
    p.add_argument("--stream", action="store_true")
    p.add_argument("--body", required=True)
    print(json.dumps(asyncio.run(Client(p.parse_args()).run())))


if __name__ == "__main__":
    main()
