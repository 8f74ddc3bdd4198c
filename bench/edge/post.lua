-- What the label editor sends to try an agent's address; with "fresh" each request has a connection of its own.
wrk.method = "POST"
wrk.body = "{}"
wrk.headers["Content-Type"] = "application/json"
wrk.headers["Origin"] = "https://app.encord.com"
wrk.headers["X-Encord-Editor-Agent"] = "test"

function init(arguments)
  if arguments[1] == "fresh" then
    wrk.headers["Connection"] = "close"
  end
end

function done(summary)
  local wrong = summary.errors
  print(string.format('{"requests": %d, "failed": %d, "seconds": %.3f}', summary.requests,
    wrong.connect + wrong.read + wrong.write + wrong.status + wrong.timeout, summary.duration / 1e6))
end
