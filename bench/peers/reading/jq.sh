#!/bin/sh
# The question of bench/reading.py, asked with jq and awk.
#     jq.sh FILE weir|litellm
set -eu
case $2 in
weir) fields='select((.event // "request") == "request") | [.model, .provider, .status, .latency_ms, .total_tokens // 0]' ;;
litellm) fields='[(.model_group // .model), .custom_llm_provider, .status, (.endTime - .startTime) * 1000, .total_tokens // 0]' ;;
esac
jq -r "$fields | @tsv" "$1" | sort -t "$(printf '\t')" -k1,2 -k4,4g -S 64M | awk -F '\t' '
    function at(q, i) { i = int(q * n); if (i < q * n) i++; return v[i < 1 ? 1 : i] }
    function tell() { if (seen) print key, requests, failure, at(0.5), at(0.95), at(0.99), tokens }
    BEGIN { OFS = "\t" }
    $1 OFS $2 != key { tell(); key = $1 OFS $2; seen = 1; n = requests = failure = tokens = 0 }
    { requests++; failure += $3 == "failure"; tokens += $5; if ($4 != "") v[++n] = $4 }
    END { tell() }'
