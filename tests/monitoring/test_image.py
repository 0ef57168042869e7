"""The gateway's image, without Docker: its build has all the files it needs, and the program starts in a root folder with the image's files and nothing
else, as its user, read-only, as compose starts it."""
import json
import os
import pathlib
import re
import shutil
import ssl
import stat
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
for folder in (ROOT / "tests/monitoring", ROOT / "tests/e2e"):
    if str(folder) not in sys.path:
        sys.path.append(str(folder))

import container  # noqa: E402  pylint: disable=wrong-import-position
import dockerfile  # noqa: E402  pylint: disable=wrong-import-position
from harness import COMPLETION, WEIR, Raw, Upstream, chat_body, forever, request, wait_for  # noqa: E402  pylint: disable=wrong-import-position
from live import free_port  # noqa: E402  pylint: disable=wrong-import-position

DOCKERFILE = (ROOT / "monitoring/Dockerfile").read_text(encoding="utf-8")
USER = 65532


def run(*words, **options):
    done = subprocess.run([str(w) for w in words], capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, (words, done.stdout[-1500:], done.stderr[-1500:])
    return done.stdout


# ---- the build ----

def put(source, place):
    if source.is_dir():
        shutil.copytree(source, place)
    else:
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, place)


@pytest.mark.heavy
def test_build_has_every_file_it_needs(tmp_path):
    """What COPY brings is enough to configure, and every source the build would compile is there."""
    for source, place in dockerfile.copied(DOCKERFILE):
        target = tmp_path / place
        put(ROOT / source, target / pathlib.Path(source).name if place == "./" else target)
    run("cmake", "--preset", "release", cwd=tmp_path, env={**os.environ, "CMAKE_C_COMPILER_LAUNCHER": ""})
    inputs = [line for line in run("ninja", "-C", "build/release", "-t", "inputs", "weir", cwd=tmp_path).splitlines() if str(tmp_path) in line]
    assert len([name for name in inputs if name.endswith(".c")]) > 200
    assert [name for name in inputs if not pathlib.Path(name).exists()] == []
    run("cmake", "--preset", "release", "-DWEIR_COMMIT=abc123", cwd=tmp_path)
    assert 'WEIR_COMMIT=\\"abc123\\"' in (tmp_path / "build/release/build.ninja").read_text()


def test_context_has_every_file_that_is_copied():
    lines = (ROOT / "monitoring/Dockerfile.dockerignore").read_text().split("\n")
    allowed = [line[1:] for line in lines if line.startswith("!")]
    assert "*" in lines
    for source, _ in dockerfile.copied(DOCKERFILE):
        below = [source] if (ROOT / source).is_file() else [f"{source}/*.c", source]
        assert any(name in allowed for name in below), source


def test_names_are_pinned():
    bases = dockerfile.of(DOCKERFILE, "FROM", 0)
    assert all(re.match(r"debian:12\.\d+-slim AS ", base) for base in bases) and bases
    assert dockerfile.of(DOCKERFILE, "FROM") == ["scratch"]


def test_nothing_runs_as_root_or_through_a_shell():
    assert dockerfile.of(DOCKERFILE, "USER") == [f"{USER}:{USER}"]
    assert dockerfile.of(DOCKERFILE, "RUN") == [] and dockerfile.of(DOCKERFILE, "ADD") == []
    for name in ("ENTRYPOINT", "CMD", "HEALTHCHECK"):
        assert dockerfile.words(dockerfile.of(DOCKERFILE, name)[0])


def test_what_is_built_is_what_the_image_has():
    """The program of the release build, in the folder that is copied, started with the file that compose mounts, where it may write."""
    build, layout = [words.split() for words in dockerfile.of(DOCKERFILE, "RUN", 0)][-2:]
    assert build[-2:] == ["--target", "weir"] and "release" in build
    program, folder = layout[-2:]
    assert program == "build/release/weir" and dockerfile.of(DOCKERFILE, "COPY") == [f"--from=build {folder} /"]
    assert dockerfile.of(DOCKERFILE, "WORKDIR") == ["/var/lib/weir"], "where image-root makes a folder of the user's"
    check = dockerfile.words(dockerfile.of(DOCKERFILE, "HEALTHCHECK")[0])
    start = dockerfile.words(dockerfile.of(DOCKERFILE, "ENTRYPOINT")[0]) + dockerfile.words(dockerfile.of(DOCKERFILE, "CMD")[0])
    assert start == ["/weir", "serve", "--config", "/etc/weir/config.yaml"] and check[:4] == ["/weir", "healthcheck", *start[2:]]
    assert dockerfile.environment(DOCKERFILE) == {"SSL_CERT_FILE": "/etc/ssl/certs/ca-certificates.crt"}


# ---- the image's files ----

def needed(path):
    """Names of the libraries that a program or a library asks for."""
    return set(re.findall(r"\(NEEDED\).*\[(.*)\]", run("readelf", "--dynamic", path)))


@pytest.fixture
def image(tmp_path):
    run(ROOT / "monitoring/image-root", WEIR, tmp_path / "image")
    return tmp_path / "image"


@pytest.mark.heavy
def test_image_holds_one_program_and_what_it_reads(image):
    files = {str(path.relative_to(image)) for path in image.rglob("*") if not path.is_dir()}
    libraries = {name for name in files if re.search(r"\.so\.\d", name)}
    assert files - libraries == {"weir", "etc/passwd", "etc/group", "etc/ssl/certs/ca-certificates.crt"}
    there = {pathlib.Path(name).name for name in libraries}
    assert there == set().union(*(needed(image / name) for name in ["weir", *libraries]))  # all, and none too many
    assert stat.S_IMODE((image / "tmp").stat().st_mode) == 0o1777
    assert "END CERTIFICATE" in (image / "etc/ssl/certs/ca-certificates.crt").read_text()
    assert dockerfile.environment(DOCKERFILE)["SSL_CERT_FILE"] == "/etc/ssl/certs/ca-certificates.crt"


def test_a_program_whose_libraries_are_missing_is_refused(tmp_path):
    (tmp_path / "lib.c").write_text("int there(void) { return 0; }\n")
    (tmp_path / "main.c").write_text("int there(void); int main(void) { return there(); }\n")
    run("cc", "-shared", "-o", "libthere.so", "lib.c", cwd=tmp_path)
    run("cc", "-o", "main", "main.c", "./libthere.so", cwd=tmp_path)
    (tmp_path / "libthere.so").unlink()
    done = subprocess.run([ROOT / "monitoring/image-root", tmp_path / "main", tmp_path / "x"], capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "libthere.so" in done.stderr and "missing" in done.stderr
    assert not (tmp_path / "x").exists()


# ---- running it ----

def contained(image, words):
    """Starts it as compose does."""
    return subprocess.Popen(container.words(image, f"{USER}:{USER}", dockerfile.environment(DOCKERFILE), ["/var/log/litellm", "/var/lib/weir"], words),
                            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def ended(process):
    out, err = process.communicate(timeout=30)
    return process.returncode, out + err


needs_root = pytest.mark.skipif(not container.possible(), reason="a root folder of its own needs root, unshare and setpriv")


@pytest.fixture
def authority(tmp_path):
    """A certificate for upstream.test, and who signed it."""
    def openssl(*words):
        run("openssl", *words, cwd=tmp_path)

    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
            "-subj", "/CN=image test CA", "-keyout", "ca.key", "-out", "ca.pem")
    openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", "/CN=upstream.test",
            "-keyout", "server.key", "-out", "server.csr")
    (tmp_path / "names").write_text("subjectAltName=DNS:upstream.test\n")
    openssl("x509", "-req", "-in", "server.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2",
            "-extfile", "names", "-out", "server.pem")
    return tmp_path


def furnish(image, port, models):
    """What compose mounts: the configuration that is shipped (with another port and more models), secrets, hosts."""
    text = (ROOT / "monitoring/gateway/config.yaml").read_text()
    assert "port: 4000\n" in text and "\nmodel_list:\n" in text
    text = text.replace("port: 4000\n", f"port: {port}\n").replace("\nmodel_list:\n", "\nmodel_list:\n" + "".join(
        f"  - {{model_name: {name}, litellm_params: {{model: openai/x, api_base: '{base}', api_key: k}}}}\n" for name, base in models.items()))
    (image / "etc/weir/config.yaml").write_text(text)
    secrets = image / "run/secrets"
    secrets.mkdir(parents=True)
    shutil.copy(ROOT / "monitoring/secrets/litellm.yaml.example", secrets / "litellm")
    container.put_names(image, ["host.docker.internal", "upstream.test"])


@pytest.mark.heavy
@needs_root
def test_runs_in_a_root_folder_with_nothing_else(image, authority):
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(authority / "server.pem", authority / "server.key")
    bundle = image / "etc/ssl/certs/ca-certificates.crt"
    bundle.write_text(bundle.read_text() + (authority / "ca.pem").read_text())
    answer = forever(lambda connection, _: connection.reply(COMPLETION))
    plain, secure = Upstream(answer), Upstream(answer, tls=tls)
    port = free_port()
    furnish(image, port, {"by-hosts": f"http://host.docker.internal:{plain.port}/v1", "by-tls": f"https://upstream.test:{secure.port}/v1"})
    check = dockerfile.words(dockerfile.of(DOCKERFILE, "HEALTHCHECK")[0])
    words = dockerfile.words(dockerfile.of(DOCKERFILE, "ENTRYPOINT")[0]) + dockerfile.words(dockerfile.of(DOCKERFILE, "CMD")[0])
    status, said = ended(contained(image, check))
    assert status == 1 and "refused" in said, said  # nobody is there yet

    process = contained(image, words)
    try:
        wait_for(lambda: process.poll() is not None or ended(contained(image, check))[0] == 0, every_s=0.1)
        assert process.poll() is None, ended(process)
        for model in ("sim-fast", "by-hosts", "by-tls"):
            with Raw("127.0.0.1", port) as raw:
                raw.send(request("POST", "/v1/chat/completions", json.dumps(chat_body(model)).encode(), {"connection": "close"}))
                reply = raw.answer()
            assert reply.status == 200, (model, reply.text)
        log = image / "var/log/litellm/requests.log"
        records = wait_for(lambda: [r for r in map(json.loads, log.read_text().splitlines()) if r["event"] == "request"][2:] and log.read_text())
        assert '"by-tls"' in records
        facts = log.stat()
        assert (facts.st_uid, facts.st_gid, stat.S_IMODE(facts.st_mode)) == (USER, USER, 0o640)
        assert "read-only" in ended(contained(image, ["/weir", "serve", "--port", "0", "--log-file", "/etc/requests.log", "--config", "/etc/weir/config.yaml"]))[1].lower()
    finally:
        process.terminate()
        _, said = ended(process)
        plain.close()
        secure.close()
    assert "OPENAI_API_KEY" in said and "listens on" in said
    assert ended(contained(image, check))[0] == 1
