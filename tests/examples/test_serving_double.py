"""The test double of TensorFlow Serving has the formats, the errors and the batching of the server."""

import json
from concurrent.futures import ThreadPoolExecutor, wait

import numpy as np
import pytest
import requests
import serving_double
from grpc_client import GrpcClient
from tensorflow_serving.apis import get_model_metadata_pb2

SENTENCES = ["4", "3 1 4 1 5"]


def post(double, body, path="/v1/models/digits:predict"):
    answer = requests.post(f"http://127.0.0.1:{double.rest_port}{path}", data=body, timeout=20)
    return answer.status_code, answer.json()


def test_the_double_answers_rows_and_columns(double, digits_translator):
    texts = digits_translator(SENTENCES[:2])
    for instances in (SENTENCES[:2], [{"sentences": text} for text in SENTENCES[:2]], ["4", {"b64": "MyAxIDQgMSA1"}]):
        status, answer = post(double, json.dumps({"instances": instances}))
        assert status == 200
        assert [row["translations"] for row in answer["predictions"]] == texts
    for inputs in (SENTENCES[:2], {"sentences": SENTENCES[:2]}):
        status, answer = post(double, json.dumps({"inputs": inputs}), "/v1/models/digits/versions/7:predict")
        assert (status, answer["outputs"]["translations"]) == (200, texts)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("", "JSON Parse error"),
        ("{", "JSON Parse error"),
        ("[]", "Is not object"),
        ("{}", "Missing 'inputs' or 'instances' key"),
        ('{"inputs": ["4"], "instances": ["4"]}', "expecting only one of"),
        ('{"instances": []}', "list/array with values"),
        ('{"instances": "4"}', "list/array with values"),
        ('{"instances": [4]}', "not of expected type: string"),
        ('{"instances": ["4", ["4"]]}', "unexpected level"),
        ('{"instances": [["4"], ["4", "5"]]}', "unexpected size: 2"),
        ('{"instances": [{"sentence": "4"}]}', "keys must be equal to: sentences|keys must be: sentences"),
        ('{"inputs": {"sentence": ["4"]}}', "Missing named input: sentences"),
        ('{"inputs": "4"}', "0th-dimension"),
        ('{"inputs": ["4"], "signature_name": "no"}', 'Serving signature name: "no" not found'),
    ],
)
def test_malformed_requests(double, body, message):
    status, answer = post(double, body)
    assert status == 400
    assert any(part in answer["error"] for part in message.split("|"))


def test_the_double_pads_as_the_server_does():
    joined = serving_double.joined([np.array([[5, 6, 7], [8, 9, 3]]), np.array([[4], [3]])], 5)
    assert joined.tolist() == [[5, 6, 7], [8, 9, 3], [4, 4, 4], [3, 4, 4], [4, 4, 4]]
    with pytest.raises(serving_double.Refused, match="empty tensor in batch"):
        serving_double.joined([np.array([[5]]), np.zeros((1, 0), int)], 2)


def test_the_double_tells_its_signatures(double):
    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    request.model_spec.name = "digits"
    client = GrpcClient(double.address(GrpcClient), "digits")
    metadata = client.stub.GetModelMetadata(request, timeout=120).metadata["signature_def"]
    signatures = get_model_metadata_pb2.SignatureDefMap()
    assert metadata.Unpack(signatures)
    assert list(signatures.signature_def["serving_default"].inputs) == ["sentences"]


def test_a_full_queue_is_worth_another_attempt(digits_export, digits_translator, double):
    batching = serving_double.Batching(max_size=1, wait=0.0, threads=1, max_enqueued=2)
    with serving_double.Double({"digits": {7: digits_export}}, batching) as full, ThreadPoolExecutor(3) as pool:
        free = full.models["digits"][7].free
        free.acquire()
        address = f"127.0.0.1:{full.grpc_port}"
        clients = [GrpcClient(address, "digits", retries=0, timeout=120.0) for _ in range(3)]
        answers = [pool.submit(client.translate, ["4"]) for client in clients]
        [refused] = wait(answers, return_when="FIRST_COMPLETED").done
        free.release()
        assert refused.exception().code == "UNAVAILABLE"
        assert "queue to which this task was submitted is full" in str(refused.exception())
        assert [answer.result() for answer in answers if answer is not refused] == [digits_translator(["4"])] * 2
