"""weir_log.py -- a callback that makes a stock LiteLLM write a request log: one JSON object a line, for `weir export`, `tail`, `analyze`.

Put it beside LiteLLM's config.yaml and name it there: litellm_settings.callbacks: ["weir_log.weir_log"]. README.md has the rest.

A line is LiteLLM's own StandardLoggingPayload and the time the model's API took (upstream_ms), without what was asked and answered
unless WEIR_LOG_CONTENT is set. It is appended by
one write to a file opened with O_APPEND, so that LiteLLM's workers can share a file on a local disk. Whatever goes wrong here, the
request never notices: the line is lost, and the first loss of its kind is told in LiteLLM's own log.
"""
import json
import logging
import math
import os
import threading

from litellm.integrations.custom_logger import CustomLogger

DEFAULT_FILE = "/var/log/litellm/requests.log"
CONTENT = ("messages", "response", "model_parameters")  # model_parameters hold tools and schemas
LOG = logging.getLogger("weir_log")


class LogFile:
    """Appends lines; follows the name when the file under it is renamed, removed or replaced (logrotate needs no signal)."""

    def __init__(self, path):
        self.path, self.fd, self.is_torn, self.lock = path, None, False, threading.Lock()

    def append(self, line):
        with self.lock:
            self._follow_name()
            # What a full disk cut off must not become the beginning of this line.
            data = b"\n" + line if self.is_torn else line
            written = os.write(self.fd, data)
            self.is_torn = written < len(data)
            if self.is_torn:
                raise OSError(f"only {written} of {len(data)} bytes could be written")

    def _follow_name(self):
        if self.fd is not None and not self._is_current():
            os.close(self.fd)
            self.fd = None
        if self.fd is None:
            self.fd = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
            self.is_torn = False

    def _is_current(self):
        try:
            named = os.stat(self.path)
        except FileNotFoundError:
            return False
        held = os.fstat(self.fd)
        return (named.st_dev, named.st_ino) == (held.st_dev, held.st_ino)


def without_content(payload):
    """What can be logged of a request without logging what was said in it."""
    kept = {key: value for key, value in payload.items() if key not in CONTENT}
    error = kept.get("error_information")
    if isinstance(error, dict):
        kept["error_information"] = {key: value for key, value in error.items() if key != "traceback"}
    return kept


def finite(value):
    """The same without NaN and infinity, which JSON does not have."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {str(key): finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(item) for item in value]
    return value


def with_api_time(payload, kwargs, end_time):
    """The payload does not say how long the model's API took; LiteLLM's own metric takes it from the same two moments."""
    try:
        seconds = (end_time - kwargs["api_call_start_time"]).total_seconds()
    except (KeyError, TypeError):  # no call was made, or LiteLLM calls it otherwise now
        return payload
    return {**payload, "upstream_ms": round(seconds * 1000, 3)} if seconds >= 0 else payload


def line_of(payload):
    options = {"ensure_ascii": False, "separators": (",", ":"), "default": str, "allow_nan": False}
    try:
        text = json.dumps(payload, **options)
    except (ValueError, TypeError):  # NaN somewhere, or a key that is no text
        text = json.dumps(finite(payload), **options)
    return text.encode("utf-8", errors="replace") + b"\n"


class WeirLog(CustomLogger):
    def __init__(self, path=None, content=None):
        super().__init__()
        self.file = LogFile(path or os.environ.get("WEIR_LOG_FILE") or DEFAULT_FILE)
        self.content = bool(os.environ.get("WEIR_LOG_CONTENT")) if content is None else content
        self.told = set()

    def write(self, kwargs, end_time):
        try:
            payload = kwargs.get("standard_logging_object")
            if payload is not None:
                kept = payload if self.content else without_content(payload)
                self.file.append(line_of(with_api_time(kept, kwargs, end_time)))
        except Exception as problem:  # pylint: disable=broad-except  # a request must not fail for its log
            if type(problem) not in self.told:
                self.told.add(type(problem))
                LOG.warning("weir_log: a line for %s is lost: %r (said once)", self.file.path, problem)

    # LiteLLM calls one of the four, once a request: the async ones for what its proxy serves.

    def log_success_event(self, kwargs, response_obj, start_time, end_time):
        self.write(kwargs, end_time)

    def log_failure_event(self, kwargs, response_obj, start_time, end_time):
        self.write(kwargs, end_time)

    async def async_log_success_event(self, kwargs, response_obj, start_time, end_time):
        self.write(kwargs, end_time)

    async def async_log_failure_event(self, kwargs, response_obj, start_time, end_time):
        self.write(kwargs, end_time)


weir_log = WeirLog()
