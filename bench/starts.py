#!/usr/bin/env python3
"""starts.py -- CPU time a request of weir over nginx's, both started anew several times.

    python3 bench/starts.py BODY_BYTES STARTS

How a process happens to lie in memory, and the state the machine is in, last as long as the process: rounds of
one start (run.py) repeat them, so its ratio at 100 KB moves between 0.94 and 1.06 from run to run. Here each pair of
starts gives three interleaved slices of a second and one ratio; the median of the pairs counts."""

import statistics
import sys

import load
import machine
import run
from peers import Mock, Nginx, Weir


def one_start(options, body_bytes, backwards):
    """{peer: median CPU µs a request} of one start of the provider and of both."""
    mock = Mock(options.work, options)
    peers = [p(options.work, mock.port, options) for p in (Weir, Nginx)]
    peers = peers[::-1] if backwards else peers
    generator = load.Requests(options, load.chat_body(body_bytes), 64)
    slices = {p.name: [] for p in peers}
    try:
        for peer in peers:
            peer.start(body_bytes)
            generator.run(peer, 1)
            peer.pause()
        with machine.awake((machine.PEER_CORE, machine.LOAD_CORE)):
            for number in range(3):
                for peer in peers if number % 2 == 0 else peers[::-1]:
                    peer.resume()
                    slices[peer.name].append(generator.measured(peer, 1)["cpu_us_per_request"])
                    peer.pause()
    finally:
        for peer in peers:
            if peer.process:
                peer.resume()
                peer.stop()
        mock.stop()
    return {name: statistics.median(values) for name, values in slices.items()}


def main(body_bytes, starts):
    options = run.arguments([])
    options.work.mkdir(parents=True, exist_ok=True)
    options.work = options.work.resolve()
    run.need_tools(options)
    ratios = []
    for number in range(starts):
        cpu_us = one_start(options, body_bytes, number % 2 == 1)
        ratios.append(cpu_us["weir"] / cpu_us["nginx"])
        print(f"{number + 1}: weir {cpu_us['weir']:.1f} µs, nginx {cpu_us['nginx']:.1f} µs, "
              f"ratio {ratios[-1]:.3f}", flush=True)
    print(f"{body_bytes} bytes, {starts} starts: ratio {statistics.median(ratios):.3f} "
          f"({min(ratios):.3f} to {max(ratios):.3f})")
    return 0


if __name__ == "__main__":
    if len(sys.argv) != 3 or not all(a.isdigit() and int(a) > 0 for a in sys.argv[1:]):
        sys.exit(__doc__)
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2])))
