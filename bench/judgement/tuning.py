"""On what the settings of the judges were chosen, apart from what proves them: `python -m bench.judgement.tuning`.

The protocol:

1. A setting (the weights and ratios of `evidence`, the constants of `dispersion`) is chosen by looking at these scenarios only, each with
   seeds below 1,000.
2. The report draws a seed of 32 bits when it is run, which nobody knows before, and most of its scenarios have parameters that none
   here has. Those that have the same, such as the ones that the bars name, are marked.
3. After a setting was changed the report is run anew, once, and what comes out is published. Nothing is chosen by what it shows:
   whoever wants to repair what it shows adds a scenario here, with other parameters, and begins at 1.
"""

from __future__ import annotations

import argparse

from bench.judgement.markdown import markdown
from bench.judgement.report import document, run
from bench.judgement.scenarios import LATENCY, OURS, Scenario
from bench.judgement.traffic import Errors, Latencies, always, part, rising, since

SEEDS = 1000
"""Seeds below it are for choosing."""

_HALF = part(0.5)
_THRICE = (1, 2, 3)

HEALTHY = {
    "healthy": Errors(),
    "bursts": Errors(bursts=0.1),
    "rising, bursts": Errors(share=rising, bursts=0.1),
    "counted twice": Errors(counted=(2,)),
    "counted three times": Errors(counted=(3,)),
    "counted 1 to 3 times": Errors(counted=_THRICE),
    "counted 1 to 3 times, canary 50 %": Errors(counted=_THRICE, share=_HALF),
    "counted 1 to 3 times, bursts": Errors(counted=_THRICE, bursts=0.1),
    "counted 1 to 3 times, 6,000 requests": Errors(counted=_THRICE, requests=6000),
    "pods differ by 0.4": Errors(pods=9, spread=0.4),
    "noise 30 %": Errors(noise=0.3),
    "noise 30 %, 6,000 requests": Errors(noise=0.3, requests=6000),
    "noise 30 %, canary 50 %": Errors(noise=0.3, share=_HALF),
    "noise 30 %, bursts": Errors(noise=0.3, bursts=0.1),
    "noise 50 %": Errors(noise=0.5),
    "noise 50 %, 1,800 requests": Errors(noise=0.5, requests=1800),
    "noise 50 %, 6,000 requests": Errors(noise=0.5, requests=6000),
    "noise 50 %, canary 50 %": Errors(noise=0.5, share=_HALF),
    "noise 50 %, bursts": Errors(noise=0.5, bursts=0.1),
    "noise 50 %, rising": Errors(noise=0.5, share=rising),
    "noise 70 %": Errors(noise=0.7),
    "noise 70 %, 6,000 requests": Errors(noise=0.7, requests=6000),
    "60,000 requests": Errors(requests=60000),
    "counted once or twice": Errors(counted=(1, 2)),
    "counted once or 5 times": Errors(counted=(1, 1, 1, 5)),
    "noise 40 %, canary 30 %": Errors(noise=0.4, share=part(0.3)),
    "noise 30 % that lasts 5 looks": Errors(noise=0.3, lasts=5),
}
BAD = {
    "2 times": Errors(always(2.0)),
    "3 times": Errors(always(3.0)),
    "10 times": Errors(always(10.0)),
    "2 times from look 20": Errors(since(20, 2.0)),
    "2 times, bursts": Errors(always(2.0), bursts=0.1),
    "2 times, rising": Errors(always(2.0), share=rising),
    "2 times, 1,200 requests": Errors(always(2.0), requests=1200),
    "2 times, 1,800 requests": Errors(always(2.0), requests=1800),
    "2 times, 6,000 requests": Errors(always(2.0), requests=6000),
    "2 times, 60,000 requests": Errors(always(2.0), requests=60000),
    "2 times, canary 50 %": Errors(always(2.0), share=_HALF),
    "2 times, nine pods": Errors(always(2.0), pods=9),
    "2 times, noise 50 %": Errors(always(2.0), noise=0.5),
    "3 times, counted 1 to 3 times": Errors(always(3.0), counted=_THRICE),
    "10 times, 6,000 requests": Errors(always(10.0), requests=6000),
}
SLOW = {
    "latency: noise 10 %": (False, Latencies(noise=0.1)),
    "latency: noise 20 %": (False, Latencies(noise=0.2)),
    "latency: noise 30 %": (False, Latencies(noise=0.3)),
    "latency: 1.3 times": (True, Latencies(always(1.3))),
    "latency: 1.3 times, noise 20 %": (True, Latencies(always(1.3), noise=0.2)),
}
TUNING: tuple[Scenario, ...] = (
    *(Scenario(name, False, draw, OURS, tuned=True) for name, draw in HEALTHY.items()),
    *(Scenario(name, True, draw, OURS, tuned=True) for name, draw in BAD.items()),
    *(Scenario(name, bad, draw, LATENCY, tuned=True) for name, (bad, draw) in SLOW.items()),
)


def main() -> None:
    """Print the table of the scenarios for choosing."""
    parser = argparse.ArgumentParser(prog="python -m bench.judgement.tuning")
    parser.add_argument("--runs", type=int, default=500, help="of each scenario")
    parser.add_argument("--seed", type=int, default=1, help=f"below {SEEDS}")
    options = parser.parse_args()
    if not 0 <= options.seed < SEEDS:
        parser.error(f"a seed for choosing is below {SEEDS}")
    results = [one for scenario in TUNING for one in run(scenario, options.runs, options.seed)]
    print(markdown(document(results, options.runs, options.seed)))  # noqa: T201


if __name__ == "__main__":
    main()
