"""Result files of five stages, as the third script wrote them: one for each length of the clips."""

from __future__ import annotations

from random import Random
from typing import Any

AMOUNT = 6


def five_stages(clip: str) -> dict[str, Any]:
    """A file of `AMOUNT` samples of clips of a length, as "2s"; the longer they are, the longer stage 1 takes."""
    draw = Random(clip)
    length = float(clip.removesuffix("s"))

    def side(name: str, seconds: tuple[float, ...]) -> dict[str, Any]:
        times = [each * draw.uniform(0.9, 1.1) for each in seconds]
        tokens = [draw.randrange(300, 309) for _ in range(12)]
        return {
            "model": name,
            **{f"stage{number}_time": each for number, each in enumerate(times, start=1)},
            "total_time": sum(times) + 0.004,
            "prefill_length": 637,
            "output_tokens": tokens,
            "output_text": "There is a car on the road.",
            "gpu_memory_mb": {"before": 7952.5, "after": 8319.375, "peak": draw.uniform(8600, 10200)},
        }

    return {
        "timestamp": "20260127_212714",
        "datetime": "2026-01-27 21:29:24",
        "dataset_name": f"my_egpt_dsec_seq_{clip}",
        "config": {"quantization": "4bit", "max_samples": -1, "max_new_tokens": 50, "device": "cuda"},
        "gpu_memory": {"eventgpt_model_mb": 3904.75, "videollava_model_mb": 4047.5, "total_models_mb": 7952.25},
        "statistics": {"n_samples": AMOUNT},
        "results": [
            {
                "sample_idx": place,
                "eventgpt": side("EventGPT", (0.002, 0.004, 0.009, 0.083, 0.44)),
                "videollava": side("Video-LLaVA", (0.05 * length, 0.062, 0.0, 0.32, 0.72)),
                "acceptance": {"acceptance_rate": 0.02, "matched_tokens": 1},
                "parallel": {"overlap_window": 1.35},
            }
            for place in range(AMOUNT)
        ],
        "errors": [],
    }
