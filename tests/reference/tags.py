"""tags.py -- tags for generated logs, whose requests have none."""
import pathlib

TAGS = ["prod", "staging", "team a", "größe", "User-Agent: curl", 'x\\"y', "\\u0074est"]


def add_tags(path, shape, rng):
    """Tags in two thirds of the lines, at most four, some twice, some that are no texts."""
    before, name = (b'"metadata":{', b"tags") if shape == "weir" else (b'"cache_hit"', b"request_tags")
    lines = pathlib.Path(path).read_bytes().split(b"\n")
    for number, line in enumerate(lines):
        if rng.random() < 0.33 or before not in line:
            continue
        tags = [f'"{tag}"' for tag in rng.choices(TAGS, k=rng.randrange(5))] + rng.choice([[], [], ["7"], ["null"]])
        member = b'"%s": [%s]' % (name, ",".join(tags).encode())
        put = before + member + b"," if shape == "weir" else member + b", " + before
        lines[number] = line.replace(before, put, 1)
    pathlib.Path(path).write_bytes(b"\n".join(lines))
