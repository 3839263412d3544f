"""The statistics behind a verdict, by noun. Pure Python; no data is never green.

Who calls these counts a missing, timed-out or unparsable item as a failure (score 0) and never drops it.
Two-sided intervals are 95 % unless told otherwise; gates look at one-sided 95 % bounds. Docstrings name the sources.
"""

from waterline.evals.distributions import student_quantile
from waterline.evals.statistics.agreement import Agreement, agreement, alpha_nominal, corrected_rate, kappa_bounds
from waterline.evals.statistics.clustered import clustered_mean, clustered_se, pass_hat_k, pass_hat_k_mean, repeated_se
from waterline.evals.statistics.corrected import Judged, JudgeErrors, corrected_mean, gate_corrected
from waterline.evals.statistics.drift import Stability, stability
from waterline.evals.statistics.gate import CONFIDENCE, Gate
from waterline.evals.statistics.paired import holm, mcnemar, non_inferiority, paired_difference, sign_test
from waterline.evals.statistics.power import (
    cases_for_effect,
    cases_for_gate,
    cases_for_non_inferiority,
    mde_paired,
    mde_unpaired,
    power_gate,
    power_paired,
)
from waterline.evals.statistics.proportions import (
    cases_to_pass,
    clopper_pearson,
    gate,
    gate_at_most,
    gate_clustered,
    newcombe_difference,
    poisson_upper_bound,
    rate_upper_bound,
    wilson,
    wilson_lower,
    wilson_upper,
)
from waterline.evals.statistics.quantiles import gate_quantile, quantile, quantile_interval
from waterline.evals.statistics.sequential import (
    EmpiricalBernstein,
    bounded_sequence,
    difference_sequence,
    mean_sequence,
    rate_sequence,
    surely_more,
)

__all__ = [
    "CONFIDENCE", "Agreement", "EmpiricalBernstein", "Gate", "JudgeErrors", "Judged", "Stability", "agreement",
    "alpha_nominal", "bounded_sequence", "cases_for_effect", "cases_for_gate", "cases_for_non_inferiority",
    "cases_to_pass", "clopper_pearson", "clustered_mean", "clustered_se", "corrected_mean", "corrected_rate",
    "difference_sequence", "gate", "gate_at_most", "gate_clustered", "gate_corrected", "gate_quantile", "holm",
    "kappa_bounds", "mcnemar", "mde_paired", "mde_unpaired", "mean_sequence", "newcombe_difference",
    "non_inferiority", "paired_difference", "pass_hat_k", "pass_hat_k_mean", "poisson_upper_bound", "power_gate",
    "power_paired", "quantile", "quantile_interval", "rate_sequence", "rate_upper_bound", "repeated_se",
    "sign_test", "stability", "student_quantile", "surely_more", "wilson", "wilson_lower", "wilson_upper",
]  # fmt: skip
