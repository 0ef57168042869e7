#!/usr/bin/env python3
"""generate.py -- logs as they come, from a seed, and what is true of them.

    generate.py --shape weir|litellm|json_logs --lines N --seed S [--bytes B] [--traps] [--start ISO] [--span SECONDS]
                [-o FILE] [--tally FILE]

Every step makes one line: traffic.py invents what happened, shapes.py writes it, traps.py (with --traps) spoils some,
and tally.py counts what is true then. Without --traps a file is exactly what the program named would write.

With --traps the file begins with a byte order mark and ends within its last line. From line 10 on, every second line
that is suited to it (a good request that has every value) is given the next variant of the next trap of traps.py's
list until each has been, so the first 2000 lines hold all; besides, traps come at their rates anywhere.
"""
import argparse
import bisect
import itertools
import json
import random
import sys

from shapes import WRITERS, parse_start
from tally import Tally, bump
from traffic import Clock
from traps import TRAPS, Kit, Line

CHUNK_BYTES = 1 << 20
BOM = b"\xef\xbb\xbf"
START = "2026-11-18T00:00:00Z"
WEEK_S = 7 * 24 * 3600
FIRST_TRAP_LINE, TRAP_STEP = 10, 2


def schedule():
    """Each variant of each trap, once."""
    return [(trap, variant) for trap, _, variants in TRAPS for variant in range(variants)]


class Generator:
    """chunks() makes the file; `tally` then knows what is in it."""

    def __init__(self, shape="weir", lines=None, seed=1, bytes_max=None, traps=False, start=START, span_s=WEEK_S):
        assert lines or bytes_max
        rng = random.Random(f"{shape} {seed}")
        expected = min(lines or 1 << 62, (bytes_max or 1 << 62) // WRITERS[shape].MEAN_BYTES)
        clock = Clock(rng, parse_start(start), span_s * 1_000_000, expected)
        self.shape, self.traps = shape, traps
        self.writer, self.tally = WRITERS[shape](rng, clock), Tally(shape)
        self.lines_max, self.bytes_max = lines or sys.maxsize, bytes_max or sys.maxsize
        self.rng = random.Random(f"{shape} {seed} traps")
        self.kit = Kit(self.rng, self.writer.next)
        self.waiting_traps = schedule()[::-1] if traps else []
        self.bounds = list(itertools.accumulate(rate for _, rate, _ in TRAPS))

    def chunks(self):
        pieces, size = [], 0
        for piece in self.spoilt_lines() if self.traps else self.plain_lines():
            pieces.append(piece)
            size += len(piece)
            if size >= CHUNK_BYTES:
                yield b"".join(pieces)
                pieces, size = [], 0
        yield b"".join(pieces)

    def plain_lines(self):
        tally, following = self.tally, self.writer.next
        while tally.lines < self.lines_max and tally.bytes < self.bytes_max:
            text, facts = following()
            piece = f"{text}\n".encode()
            tally.add(facts)
            tally.bytes += len(piece)
            yield piece

    def spoilt_lines(self):
        tally = self.tally
        tally.bytes = len(BOM)
        yield BOM
        while tally.lines < self.lines_max - 1 and tally.bytes < self.bytes_max:
            text, facts = self.writer.next()
            trap, variant = self.trap_for(facts)
            piece = self.spoil(text, facts, trap, variant) if trap else f"{text}\n".encode()
            tally.add(facts)
            tally.bytes += len(piece)
            yield piece
        yield self.cut_line()

    def trap_for(self, facts):
        number = self.tally.lines + 1
        if self.waiting_traps and number >= FIRST_TRAP_LINE and number % TRAP_STEP == 0 and self.is_suited(facts):
            return self.waiting_traps.pop()
        index = bisect.bisect_right(self.bounds, self.rng.random())
        if index == len(TRAPS):
            return None, 0
        trap, _, variants = TRAPS[index]
        return trap, self.rng.randrange(variants)

    def is_suited(self, facts):
        """Has the line every value that a trap may want to spoil?"""
        if self.shape == "json_logs":
            return True
        return (facts.event == "request" and facts.outcome == "success" and facts.ttft_us is not None
                and facts.cost_pico and (self.shape == "litellm" or facts.attempts is not None))

    def spoil(self, text, facts, trap, variant):
        line = Line(self.shape, text, facts)
        trap(self.kit, line, variant)
        bump(self.tally.traps, trap.__name__)
        return line.bytes()

    def cut_line(self):
        text, facts = self.writer.next()
        line = text.encode()
        facts.fate = "broken"
        piece = line[:self.rng.randrange(1, len(line))]
        self.tally.add(facts)
        self.tally.bytes += len(piece)
        return piece


def write(path, **options):
    """Makes the file and returns its tally."""
    generator = Generator(**options)
    with open(path, "wb") as file:
        for chunk in generator.chunks():
            file.write(chunk)
    return generator.tally


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--shape", choices=WRITERS, default="weir")
    parser.add_argument("--lines", type=int, metavar="N", help="how many lines")
    parser.add_argument("--bytes", type=int, metavar="B", help="stop once there are so many bytes")
    parser.add_argument("--seed", type=int, default=1, metavar="S")
    parser.add_argument("--traps", action="store_true", help="spoil some lines, each in a way a reader must survive")
    parser.add_argument("--start", default=START, metavar="ISO", help=f"time of the first line ({START})")
    parser.add_argument("--span", type=float, default=WEEK_S, metavar="SECONDS", help="from first to last line (a week)")
    parser.add_argument("-o", "--output", default="/dev/stdout", metavar="FILE")
    parser.add_argument("--tally", metavar="FILE", help="write what is true of the lines, as JSON")
    options = parser.parse_args()
    if not options.lines and not options.bytes:
        parser.error("--lines or --bytes is needed")
    tally = write(options.output, shape=options.shape, lines=options.lines, seed=options.seed, bytes_max=options.bytes,
                  traps=options.traps, start=options.start, span_s=options.span)
    if options.tally:
        with open(options.tally, "w", encoding="utf-8") as file:
            json.dump(tally.as_dict(), file, indent=1)


if __name__ == "__main__":
    main()
