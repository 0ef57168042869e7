"""shapes.py -- how a call is written: as weir's line, as LiteLLM's StandardLoggingPayload, or not at all (json_logs).

A writer's next() gives (text without newline, facts); facts hold what the line says, in the line's precision. Texts
are made by joining pieces that were made beforehand; weir's keys stand in the order of src/observe/record.def.
"""
import json
import time
from datetime import datetime, timezone

from tally import Facts
from traffic import LITELLM_SHARES, WEIR_SHARES, Traffic, make_metadata, make_prompts


def quoted(text):
    """As weir escapes: only what must be."""
    return json.dumps(text, ensure_ascii=False)


def decimal(value, scale, digits):
    """value / scale (10^digits) without trailing zeros, as record.c writes it."""
    whole, fraction = divmod(value, scale)
    return f"{whole}.{fraction:0{digits}d}".rstrip("0") if fraction else str(whole)


class Stamper:
    """2026-11-24T01:50:23, remembered for a second."""

    def __init__(self, to_fields):
        self.to_fields, self.second, self.text = to_fields, None, ""

    def seconds(self, second):
        if second != self.second:
            self.second, self.text = second, time.strftime("%Y-%m-%dT%H:%M:%S", self.to_fields(second))
        return self.text


class WeirWriter:
    SHARES = WEIR_SHARES
    MEAN_BYTES = 990

    def __init__(self, rng, clock):
        self.traffic = Traffic(rng, clock, self.SHARES)
        self.stamper = Stamper(time.gmtime)
        self.metadata = [f',"metadata":{text}' for text in make_metadata(rng)]
        self.requests = [f',"request":{{"messages":[{{"role":"user","content":{quoted(text)}}}],"model":"decoy"}}'
                         for text in make_prompts(rng)]
        self.routes, self.callers = {}, {}
        for route in self.traffic.routes:
            self.routes[route] = self.route_pieces(route)
        for caller in self.traffic.callers:
            self.callers[caller] = self.caller_pieces(caller)

    @staticmethod
    def route_pieces(route):
        """Keys from model to stream: of a route, and of a request that got none."""
        model, tail = f'","model":{quoted(route.model)}', f',"call_type":"{route.call_type}","stream":'
        chosen = (f',"provider":"{route.provider}","deployment":"{route.deployment}"'
                  f',"upstream_model":{quoted(route.upstream_model)}')
        return model + chosen + tail, model + tail, f'","api_base":"{route.api_base}"'

    @staticmethod
    def caller_pieces(caller):
        user = f',"user":{quoted(caller.user)}' if caller.user else ""
        return (f',"key_alias":{quoted(caller.alias)},"key_hash":"{caller.key_hash}"',
                f'{user},"client":"{caller.client}","user_agent":{quoted(caller.user_agent)}')

    def next(self):
        call = self.traffic.next()
        milliseconds = call.time_us // 1000
        call.time_us = milliseconds * 1000
        second, fraction = divmod(milliseconds, 1000)
        head = (f'{{"timestamp":"{self.stamper.seconds(second)}.{fraction:03d}Z","level":"{call.level}"'
                f',"event":"{call.event}"')
        if call.route is None:
            return head + self.housekeeping(call), call
        chosen, bare, base = self.routes[call.route]
        key, who = self.callers[call.caller]
        pieces = [head, f',"request_id":"{call.request_id}', bare if call.is_bare else chosen,
                  "true" if call.stream else "false", f',"status":"{call.outcome}","http_status":{call.http_status}',
                  self.times(call), self.tokens(call), self.outcome(call), key, f',"trace_id":"{call.trace_id}',
                  '"' if call.is_bare else base]
        if call.route.provider == "ollama" and call.outcome == "success" and call.upstream_us:
            pieces.append(self.engine(call))
        pieces.append(who)
        if call.message is not None:
            pieces.append(self.error(call))
        spice = call.spice
        if spice & 15 < 9:
            pieces.append(self.metadata[spice >> 4 & 511])
        elif spice & 15 < 11:
            pieces.append(self.requests[spice >> 4 & 255])
        pieces.append("}")
        return "".join(pieces), call

    @staticmethod
    def housekeeping(call):
        if call.event != "gap":
            return "}"
        return f',"dropped":{call.dropped},"error":{{"type":"{call.error_type}","message":{quoted(call.message)}}}}}'

    @staticmethod
    def times(call):
        text = f',"latency_ms":{decimal(call.latency_us, 1000, 3)}'
        if call.ttft_us is not None:
            text += f',"ttft_ms":{decimal(call.ttft_us, 1000, 3)}'
        if call.upstream_us is None:
            return text + f',"overhead_ms":{decimal(call.overhead_us, 1000, 3)}'
        return text + (f',"upstream_ms":{decimal(call.upstream_us, 1000, 3)}'
                       f',"overhead_ms":{decimal(call.overhead_us, 1000, 3)}'
                       f',"queue_ms":{decimal(call.queue_us, 1000, 3)}')

    @staticmethod
    def tokens(call):
        if call.prompt_tokens is None:
            return ""
        text = f',"prompt_tokens":{call.prompt_tokens}'
        if call.completion_tokens is not None:
            text += f',"completion_tokens":{call.completion_tokens}'
        text += f',"total_tokens":{call.total_tokens}'
        if call.cached_tokens is not None:
            text += f',"cached_tokens":{call.cached_tokens}'
        if call.reasoning_tokens is not None:
            text += f',"reasoning_tokens":{call.reasoning_tokens}'
        text += ',"tokens_source":"provider"' if call.spice & 63 else ',"tokens_source":"estimated"'
        if call.rate_hundredths is not None:
            text += f',"tokens_per_second":{decimal(call.rate_hundredths, 100, 2)}'
        if call.cost_pico is not None:
            text += f',"cost_usd":{decimal(call.cost_pico, 10**12, 12)}'
        return text

    @staticmethod
    def outcome(call):
        text = f',"cache":"{call.cache}"'
        if call.attempts is not None:
            text += f',"attempts":{call.attempts}'
        if call.fallback_from is not None:
            text += f',"fallback_from":{quoted(call.fallback_from)}'
        if call.finish_reason is not None:
            text += f',"finish_reason":"{call.finish_reason}"'
        return text + ',"slow":true' if call.is_slow else text

    @staticmethod
    def engine(call):
        load_us = 1_900_000 if call.spice & 255 == 7 else 1400
        prefill_us = min(call.prompt_tokens * 310, call.upstream_us)
        return (f',"engine":{{"load_ms":{decimal(load_us, 1000, 3)},"prefill_ms":{decimal(prefill_us, 1000, 3)}'
                f',"decode_ms":{decimal(call.upstream_us - prefill_us, 1000, 3)}}}')

    @staticmethod
    def error(call):
        status = f',"provider_status":{call.provider_status}' if call.provider_status else ""
        return f',"error":{{"type":"{call.error_type}"{status},"message":{quoted(call.message)}}}'


def epoch_text(time_us):
    """As Python writes a float of seconds."""
    text = decimal(time_us, 1_000_000, 6)
    return text if "." in text else text + ".0"


class LitellmWriter:
    SHARES = LITELLM_SHARES
    MEAN_BYTES = 960

    def __init__(self, rng, clock):
        self.traffic = Traffic(rng, clock, self.SHARES)
        self.prompts = [json.dumps([{"role": "user", "content": text[:60]}]) for text in make_prompts(rng)]
        self.callers = {caller: self.caller_pieces(caller) for caller in self.traffic.callers}

    @staticmethod
    def caller_pieces(caller):
        return (f'"metadata": {{"user_api_key_hash": "{caller.key_hash}", "user_api_key_alias": {json.dumps(caller.alias)}',
                f', "end_user": {json.dumps(caller.user or "")}, "requester_ip_address": "{caller.client}"')

    def next(self):
        call = self.traffic.next()
        self.adapt(call)
        route, end_us = call.route, call.time_us
        start_us = end_us - call.latency_us
        first_us = end_us if call.ttft_us is None else start_us + call.ttft_us
        metadata, who = self.callers[call.caller]
        cost = repr((call.cost_pico or 0) / 1e12)
        call.cost_pico = call.cost_pico or 0
        text = "".join((
            f'{{"id": "chatcmpl-{call.request_id}', f'_cache_hit{epoch_text(end_us)}' if call.is_hit else "",
            f'", "trace_id": "{call.trace_id}", "call_type": "', "aembedding" if route.is_embedding else "acompletion",
            f'", "stream": {"true" if call.stream else "false"}, "response_cost": {cost}, "status": "{call.outcome}", '
            f'"custom_llm_provider": {json.dumps(call.provider)}, "total_tokens": {call.total_tokens}, '
            f'"prompt_tokens": {call.prompt_tokens}, "completion_tokens": {call.completion_tokens}, '
            f'"startTime": {epoch_text(start_us)}, "endTime": {epoch_text(end_us)}, '
            f'"completionStartTime": {epoch_text(first_us)}, "response_time": {(first_us - start_us) / 1e6!r}, '
            f'"model": {json.dumps(route.upstream_model)}, "model_id": "{route.deployment}", '
            f'"model_group": {json.dumps(call.model)}, "api_base": "{route.api_base}", ',
            metadata, self.usage(call), who, f', "cache_hit": {call.cache}', self.rest(call)))
        return text, call

    @staticmethod
    def adapt(call):
        """What LiteLLM records otherwise than weir."""
        call.attempts = None
        call.cache = "true" if call.is_hit else "false" if call.cache == "miss" else "null"
        if not call.stream:
            call.ttft_us = None
        elif call.ttft_us is None:  # a stream that failed before its first token
            call.ttft_us = call.latency_us
        if call.failure:
            call.error_type = call.failure[3]
            call.prompt_tokens = call.completion_tokens = call.total_tokens = call.cost_pico = 0
            call.cached_tokens = call.reasoning_tokens = None
        if call.completion_tokens is None:
            call.completion_tokens = 0

    @staticmethod
    def usage(call):
        if call.cached_tokens is None and call.reasoning_tokens is None:
            return "}"
        text = ', "usage_object": {'
        if call.cached_tokens is not None:
            text += f'"prompt_tokens_details": {{"audio_tokens": null, "cached_tokens": {call.cached_tokens}}}'
        if call.reasoning_tokens is not None:
            text += ", " if call.cached_tokens is not None else ""
            text += f'"completion_tokens_details": {{"reasoning_tokens": {call.reasoning_tokens}}}'
        return text + "}}"

    def rest(self, call):
        overhead = f', "hidden_params": {{"litellm_overhead_time_ms": {decimal(call.overhead_us, 1000, 3)}}}'
        messages = f', "messages": {self.prompts[call.spice & 255]}' if call.spice >> 8 & 15 < 3 else ""
        if not call.failure:
            return messages + overhead + ', "error_str": null, "error_information": null}'
        _, _, _, name, code = call.failure
        text = json.dumps(f"litellm.{name}: {call.message}")
        return (f'{messages}{overhead}, "error_str": {text}, "error_information": {{"error_code": "{code}", '
                f'"error_class": "{name}", "llm_provider": {json.dumps(call.provider or "")}, "error_message": {text}}}}}')


class JsonLogsWriter:
    """Lines of LiteLLM's loggers and of uvicorn's access log under json_logs. Local time, no zone."""

    MEAN_BYTES = 150
    PATHS = ["/chat/completions", "/v1/chat/completions", "/v1/embeddings?x=%22status%22", "/v1/messages",
             "/openai/deployments/gpt-4o/chat/completions", "/v1/completions", "/v1/responses"]
    OTHER = ['"GET /health/liveliness HTTP/1.1"', '"GET /metrics HTTP/1.1"', '"POST /key/generate HTTP/1.1"',
             '"GET /v1/models HTTP/1.1"', '"OPTIONS /chat/completions HTTP/1.1"']
    TALK = ["LiteLLM completion() model= %(model)s; provider = openai",
            "Wrapper: Completed Call, calling success_handler",
            'POST Request Sent from LiteLLM:\ncurl -X POST \\\n{"model": "%(model)s", "status": "failure"}',
            "litellm.acompletion(model=%(model)s) 200 OK", "Größe des Caches: %(n)d — ok"]
    CLASSES = ["RateLimitError", "Timeout", "AuthenticationError", "InternalServerError", "APIConnectionError"]

    def __init__(self, rng, clock):
        self.rng, self.clock, self.bits = rng, clock, rng.getrandbits
        self.stamper = Stamper(time.localtime)

    def next(self):
        facts = Facts("log", self.clock.tick())
        draw = self.bits(8)
        if draw < 150:
            message, level = self.access(facts), "INFO"
        elif draw < 160:
            return self.failure(facts), facts
        else:
            message, level = self.TALK[draw % len(self.TALK)] % {"model": "gpt-4o", "n": self.bits(16)}, "DEBUG"
        return f'{{"message": {json.dumps(message)}, "level": "{level}", "timestamp": "{self.stamp(facts)}"}}', facts

    def stamp(self, facts):
        second, fraction = divmod(facts.time_us, 1_000_000)
        return f"{self.stamper.seconds(second)}.{fraction:06d}"

    def access(self, facts):
        draw = self.bits(20)
        client = f"10.0.{draw & 255}.{draw >> 8 & 255}:{1024 + draw % 60000}"
        if draw >> 16 < 3:
            return f"{client} - {self.OTHER[draw % len(self.OTHER)]} 200"
        facts.event = "request"
        code, facts.outcome = ((200, "success") if draw & 31 else (429, "failure") if draw & 32
                               else (500, "failure") if draw & 64 else (499, "cancelled"))
        return f'{client} - "POST {self.PATHS[draw % len(self.PATHS)]} HTTP/1.1" {code}'

    def failure(self, facts):
        name = self.CLASSES[self.bits(8) % len(self.CLASSES)]
        facts.outcome, facts.error_type = "failure", name
        identifier, number = f"{self.bits(64):016x}", self.bits(12)
        message = f'litellm.proxy.proxy_server._handle_llm_api_exception(): Exception occured - {{"id":"{identifier}"}}'
        trace = ("Traceback (most recent call last):\n"
                 f'  File "/app/litellm/proxy/route_llm_request.py", line {number}, in route_request\n'
                 "    return await getattr(llm_router, f\"{route_type}\")(**data)\n"
                 f'litellm.exceptions.{name}: litellm.{name}: {name}: {{"error": "req_{identifier}: \\"x\\""}}\n')
        return (f'{{"message": {json.dumps(message)}, "level": "ERROR", "timestamp": "{self.stamp(facts)}", '
                f'"stacktrace": {json.dumps(trace)}}}')


WRITERS = {"weir": WeirWriter, "litellm": LitellmWriter, "json_logs": JsonLogsWriter}


def parse_start(text):
    """ISO 8601 to µs since 1970; without zone: UTC."""
    moment = datetime.fromisoformat(text)
    moment = moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)
    return round(moment.timestamp()) * 1_000_000
