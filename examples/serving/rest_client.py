"""Translate through the REST interface of TensorFlow Serving. Needs requests and typer.

    python rest_client.py --url http://localhost:8501 --model en_de "A man rides a horse."

or, in a program:

    client = RestClient("http://localhost:8501", "en_de")
    client.translate(["A man rides a horse."])
"""

import json
from urllib.parse import quote

import typer
from serving_client import Client, ServingError, command, missing

try:
    import requests
except ImportError as error:
    raise missing("requests", error) from error

# The HTTP status of TensorFlow Serving: gRPC's name of the error.
CODES = {
    400: "INVALID_ARGUMENT",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    501: "UNIMPLEMENTED",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}


class RestClient(Client):
    """A `Client` whose address is an http:// or https:// URL.

    A time limit here limits the time without any data. The server sends an answer in one piece, so that is the time
    until the answer.
    """

    OPTION, DEFAULT = "--url", "http://localhost:8501"

    def __init__(self, address, model, version=None, **limits):
        super().__init__(address, model, version, **limits)
        if not address.startswith(("http://", "https://")):
            raise ValueError(f"address must begin with http:// or https://, as {self.DEFAULT} does, got {address!r}.")
        place = "" if version is None else f"/versions/{version}"
        self.url = f"{address.rstrip('/')}/v1/models/{quote(model, safe='')}{place}:predict"
        self.session = requests.Session()

    def ask(self, columns, signature, seconds):
        body = json.dumps({"signature_name": signature, "inputs": columns}, ensure_ascii=False).encode("utf-8")
        try:
            response = self.session.post(
                self.url, data=body, timeout=seconds, headers={"Content-Type": "application/json"}
            )
        except requests.Timeout as error:
            raise ServingError("DEADLINE_EXCEEDED", f"no answer within {seconds:.3g} s.") from error
        except requests.ConnectionError as error:
            raise ServingError("UNAVAILABLE", getattr(error.args[0], "reason", error)) from error
        except requests.RequestException as error:
            raise ServingError("INTERNAL", f"{error}") from error
        return self._outputs(response)

    def _outputs(self, response):
        try:
            answer = json.loads(response.content)
        except ValueError:  # the answer of a proxy or of another server
            answer = response.text[:200]
        if response.status_code != 200:
            message = answer["error"] if isinstance(answer, dict) and "error" in answer else answer
            code = CODES.get(response.status_code, f"HTTP {response.status_code}")
            raise ServingError(code, message)
        if not isinstance(answer, dict) or "outputs" not in answer:
            raise ServingError("INTERNAL", f"this is not an answer of TensorFlow Serving: {answer!r}.")
        if not isinstance(answer["outputs"], dict):  # the server leaves out the name of a single output
            message = f"the signature gives one output, without a name, {answer['outputs']!r}"
            raise ServingError("FAILED_PRECONDITION", f"{message:.200}.")
        return answer["outputs"]


if __name__ == "__main__":
    typer.run(command(RestClient))
