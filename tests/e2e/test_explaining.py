"""What the running product tells of a single request."""

import json
import re
import subprocess
import sys

from tests.e2e.stack import ROOT, Stack


def test_an_admin_is_told_what_was_decided_and_everybody_where_the_time_went(stack: Stack) -> None:
    account = stack.register("Explained")
    post = stack.publish(account["accessToken"])
    path = f"/api/posts/{post['id']}"
    command = [sys.executable, "-m", "services", "admin", account["user"]["email"]]
    subprocess.run(command, cwd=ROOT, env=stack.environment, check=True, capture_output=True)
    login = {"email": account["user"]["email"], "password": "a long secret"}
    token = stack.post("/api/auth/login", login)[1]["data"]["accessToken"]
    answer = stack.request("GET", path, token=token, X_Explain="1", X_Request_ID="explained")
    told = json.loads(answer.headers["X-Explain"])
    assert told["upstreamMs"] > 0
    assert told | {"upstreamMs": 0} == {
        "client": "127.0.0.1",
        "user": account["user"]["id"],
        "path": path,
        "route": "/api/posts/{id}",
        "who": "all",
        "upstream": "posts",
        "limit": "general",
        "countedBy": account["user"]["id"],
        "refusal": None,
        "cache": "BYPASS",
        "cacheKey": path,
        "upstreamMs": 0,
        "requestId": "explained",
    }
    assert re.fullmatch(r"gateway;dur=[\d.]+, upstream;dur=[\d.]+", answer.headers["Server-Timing"])
    stranger = stack.request("GET", "/api/hello", X_Explain="1")
    assert "X-Explain" not in stranger.headers
    assert re.fullmatch(r"gateway;dur=[\d.]+", stranger.headers["Server-Timing"])
    lines = [json.loads(line) for line in stack.log.read_text().splitlines() if '"requestId":"explained"' in line]
    assert {line["service"] for line in lines} == {"gateway", "posts"}  # one id through all of them
