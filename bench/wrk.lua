-- What wrk sends, from the environment (see load.py), and its result as one line of JSON. With BENCH_FIRST each
-- "@NUMBER@" in the body and the headers becomes a number of ten digits that counts up from there.
wrk.method = "POST"
for line in (os.getenv("BENCH_HEADERS") or ""):gmatch("[^\n]+") do
    local name, value = line:match("^([^:]+): (.*)$")
    wrk.headers[name] = value
end
local file = assert(io.open(assert(os.getenv("BENCH_BODY"))))
wrk.body = file:read("*a")
file:close()

local number = tonumber(os.getenv("BENCH_FIRST") or "")
if number then
    local place, parts = "@NUMBER@", {}
    wrk.body = wrk.body:gsub(place, place .. "xx") -- as long as a number: Content-Length is right

    function init()
        for part in (wrk.format() .. place):gmatch("(.-)" .. place) do
            parts[#parts + 1] = part:gsub("^xx", "", 1)
        end
    end

    function request()
        number = number + 1
        return table.concat(parts, string.format("%010d", number))
    end
end

function done(summary, latency)
    local e = summary.errors
    io.write(string.format(
        '\nRESULT {"requests":%d,"seconds":%.6f,"p50_us":%d,"p99_us":%d,"failed":%d}\n',
        summary.requests, summary.duration / 1e6, latency:percentile(50), latency:percentile(99),
        e.connect + e.read + e.write + e.status + e.timeout))
end
