"""From records to numbers; pure.

The time of a stage has four estimators, each under one name:

    display     `StageFigure.seconds.median`: median of all rounds of all samples together. Terminal, report and limits
    gate        `metrics.gate_estimate`: per sample the mean of the faster half of its rounds' logarithms, then the mean
                over the samples. `time.*` and `ms_per_token.*` of gates and of `ab`
    speedup     `stage1_speedup`: mean over the samples of each one's median (under a gate: of its faster half), target
                over draft
    whole pass  `PassFigure.mean_s`, `Comparison`: mean over the samples, one pass of each
"""
