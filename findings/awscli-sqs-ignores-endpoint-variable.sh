#!/usr/bin/env bash
# awscli 1.46.3 (the Python package): AWS_ENDPOINT_URL, and AWS_ENDPOINT_URL_SQS, are honoured by `aws cloudformation` and
# by boto3's SQS client, but not by `aws sqs`: it asks queue.amazonaws.com, with whatever credentials the shell has.
# One would not expect it: the variable is documented for all services, and is meant for keeping tests away from AWS. A
# queue is purged or deleted in the real account by a script that runs well against a local one with every other service.
# `--endpoint-url` is honoured.
set -euo pipefail
folder=$(mktemp -d)
trap 'kill "$server" 2>/dev/null || true; rm -rf "$folder"' EXIT
python3 -m venv "$folder/v"
"$folder/v/bin/pip" install --quiet --disable-pip-version-check awscli==1.46.3 boto3==1.43.62 2>/dev/null
# A stand-in for an endpoint: notes the path and the host that it was asked for, and answers with an error.
cat > "$folder/server.py" <<'END'
import http.server, sys
class Note(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        open(sys.argv[1], "a").write(self.headers["Host"] + "\n")
        self.send_response(400); self.send_header("Content-Length", "0"); self.end_headers()
    def log_message(self, *_): pass
server = http.server.HTTPServer(("127.0.0.1", 0), Note)
print(server.server_port, flush=True)
server.serve_forever()
END
mkfifo "$folder/port"
python3 "$folder/server.py" "$folder/asked" > "$folder/port" & server=$!
read -r port < "$folder/port"
export AWS_ENDPOINT_URL=http://127.0.0.1:$port AWS_ENDPOINT_URL_SQS=http://127.0.0.1:$port
export AWS_ACCESS_KEY_ID=x AWS_SECRET_ACCESS_KEY=x AWS_DEFAULT_REGION=us-east-1 AWS_MAX_ATTEMPTS=1 AWS_EC2_METADATA_DISABLED=true
export HTTPS_PROXY=http://127.0.0.1:9 NO_PROXY=127.0.0.1 # what goes out ends here: nothing reaches AWS
asked() { touch "$folder/asked"; wc -l < "$folder/asked"; }
try() { "$@" > "$folder/out" 2>&1 || true; }
try "$folder/v/bin/aws" cloudformation list-stacks; one=$(asked)
try "$folder/v/bin/aws" sqs list-queues; two=$(asked); said=$(tail -1 "$folder/out")
try "$folder/v/bin/python" -c 'import boto3; boto3.client("sqs").list_queues()'; three=$(asked)
try "$folder/v/bin/aws" --endpoint-url "$AWS_ENDPOINT_URL" sqs list-queues; four=$(asked)
echo "requests at the endpoint: aws cloudformation $one, aws sqs $((two - one)) ($said), boto3 sqs $((three - two)), --endpoint-url $((four - three))"
[ "$one" -ge 1 ] && [ "$two" = "$one" ] && [ "$three" -gt "$two" ] && [ "$four" -gt "$three" ]
