"""Wrong options end a run before anything is measured, with the way out."""

import pytest

USAGE_ERRORS = {
    "--models=egpt,vicuna": "there is no model 'vicuna': choose among egpt, videollava, llava",
    "--dataset_dir=nowhere --model-set=tiny": "nowhere: is not a folder",
    "--limits=nowhere.toml": "nowhere.toml: cannot be read",
    "--dataset_json=nowhere.json": "nowhere.json: does not exist",
    "--device=cpu --eventgpt_model_path=/nowhere/EventGPT": "/nowhere/EventGPT: does not exist",
    "--dtype=float8": "there is no dtype 'float8': choose among float32, float16, bfloat16",
    "--quantize=int4": "there is no quantisation 'int4': choose among none, nf4, int8",
    "--frame-cache=maybe": "there is no frame cache 'maybe': choose among off, frames, pixels",
    "--frame-cache=frames --cache-dir=/dev/null/x": "/dev/null/x: cannot be used as a cache folder (Not a directory)",
}


@pytest.mark.parametrize("option", ["--dataset_dir", "--dataset_json"])
def test_results_do_not_take_the_place_of_the_dataset(suite, dataset_folder, option):
    dataset = dataset_folder / "EventGPT_Instruction_Subset.json"
    before = dataset.read_bytes()
    given = dataset_folder if option == "--dataset_dir" else dataset
    result = suite.run("--model-set=tiny", option, str(given), "--output_json", str(dataset))
    assert result.returncode == 4, result.stdout
    assert f"{dataset}: the run uses this file itself; name another one by --output_json" in result.stderr
    assert dataset.read_bytes() == before


@pytest.mark.parametrize("arguments", USAGE_ERRORS)
def test_a_wrong_wish_is_a_usage_error_that_names_the_way_out(suite, arguments):
    result = suite.run(*arguments.split())
    assert result.returncode == 4, result.stdout
    assert USAGE_ERRORS[arguments] in result.stderr
