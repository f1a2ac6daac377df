-- The documented load test's POST.
wrk.method = "POST"
wrk.body = '{"ip":"114.114.114.114"}'
wrk.headers["Content-Type"] = "application/json"
