"""Which groups does the detector serve worse than the best one, and is that more than chance and distance?

In every attribute each group's recall is compared with that of the best group. Beside the raw gap stands the gap at
equal conditions: strata of box height, occlusion, brightness, weighted as Mantel and Haenszel do (Greenland and Robins
1985), so that strata without both groups have no weight. The verdict is on the stratified gap where there is one. The
best group is chosen after looking, so Holm's correction (1979) counts every pair of groups in every attribute.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import NormalDist

import numpy as np
from scipy.special import stdtr

from pipeline.core import bootstrap
from pipeline.core.bootstrap import Indices
from pipeline.core.groups import Evidence, Group, by_attribute, overall_correlation
from pipeline.core.matching import Floats, Mask
from pipeline.core.statistics import MIN_CLUSTERS

NOT_COMPARED = ("class", "height")  # they differ by nature; the preconditions say what is asked of them
ALPHA, POWER = 0.05, 0.8
LEAST_SHARED = 0.5  # of both groups' objects in strata that both have; with less they are not alike enough
SHOWN, WITHIN, NOT_ASSESSABLE = "gap shown", "no gap larger than the limit", "not assessable"


@dataclass(frozen=True, slots=True)
class Gap:
    """Recall of the reference minus recall of the group, with its 95 % interval and the p-value of no gap."""

    gap: float
    low: float
    high: float
    error: float
    p: float

    @property
    def clear(self) -> bool:
        """Whether the interval leaves zero out."""
        return self.low > 0 or self.high < 0


@dataclass(frozen=True, slots=True)
class Comparison:
    """One group beside the best one of its attribute."""

    attribute: str
    value: str
    objects: int
    recall: float | None
    verdict: str
    min_support: int  # objects a group needs for a gap of the limit to be seen with a power of 0.8
    more_objects: int  # of this group, at the same mix of clips, until a verdict can be expected
    more_clusters: int
    unit: str  # what a cluster is
    reference: str | None = None
    reference_recall: float | None = None
    ratio: float | None = None  # of the recalls
    raw: Gap | None = None
    stratified: Gap | None = None
    strata: tuple[str, ...] = ()
    shared: float | None = None  # share of both groups' objects in strata that both have
    p_holm: float | None = None
    reading: str = ""  # where raw and stratified gap say different things


@dataclass(frozen=True, slots=True, eq=False)
class _Candidate:
    """A group with enough objects and clusters. Levels are numbered from the coarsest."""

    group: Group
    objects: int
    recall: float
    level: int  # the coarsest that has enough clusters
    sizes: tuple[Floats, ...]  # by level: (C,) objects in each cluster
    replicates: Mapping[int, Floats]  # level -> (R,) recall in every resample
    effects: tuple[float, ...]  # design effects by level

    def clusters(self, level: int) -> float:
        return bootstrap.effective(self.sizes[level])


@dataclass(frozen=True, slots=True, eq=False)
class _Pair:
    """A group beside the best one of its attribute."""

    group: _Candidate
    best: _Candidate
    unit: str
    raw: Gap
    stratified: Gap | None
    strata: tuple[str, ...]
    shared: float | None

    @property
    def decisive(self) -> Gap:
        return self.stratified or self.raw


def compare(groups: Sequence[Group], evidence: Evidence, stratify: Sequence[str], limit: float) -> list[Comparison]:
    """Every group of every compared attribute beside the best one.

    Args:
        groups: of all attributes, those of `stratify` among them.
        evidence: what they rest on.
        stratify: attributes whose groups are the strata; those that the benchmark does not have are left out.
        limit: recall that a group may lack without anybody minding.
    """
    of = by_attribute(groups)
    found = evidence.matched.found(evidence.thresholds)
    correlations = [overall_correlation(evidence, level) for level in evidence.levels]
    families = {name: those for name, those in of.items() if _compared(name) and _present(those) > 1}
    pairs: dict[tuple[str, str], _Pair] = {}
    others: list[float] = []  # p-values of pairs without the best group
    for name, those in families.items():
        ranked = _ranked(those, evidence, found, correlations)
        strata = {key: of[key] for key in stratify if key in of and key not in name.split(" x ")}
        pairs |= {(name, it.group.value): _measure(it, ranked[0], evidence, found, strata) for it in ranked[1:]}
        others += [_raw(a, b, _level(a, b)).p for a, b in combinations(ranked[1:], 2)]
    adjusted = holm([*(pair.decisive.p for pair in pairs.values()), *others])
    by_pair = dict(zip(pairs, adjusted, strict=False))
    best = {id(pair.best.group) for pair in pairs.values()}
    judge = _Judge(evidence, found, correlations, limit, max(len(adjusted), 1))
    return [
        judge.measured(pairs[key], by_pair[key]) if key in pairs else judge.unmeasured(group)
        for name, those in families.items()
        for group in those
        for key in [(name, group.value)]
        if id(group) not in best
    ]


def _compared(attribute: str) -> bool:
    return not set(attribute.split(" x ")) & set(NOT_COMPARED)


def _present(groups: Sequence[Group]) -> int:
    return sum(bool(group.objects.any()) for group in groups)


def _ranked(
    groups: Sequence[Group], evidence: Evidence, found: Mask, correlations: Sequence[float]
) -> list[_Candidate]:
    """The groups that can be assessed at all, the highest recall first."""
    level_of = {
        group.value: evidence.levels.index(level)
        for group in groups
        if group.objects.sum() >= evidence.min_support and (level := evidence.level(group))
    }
    used = sorted(set(level_of.values()))
    able = [
        _candidate(group, level_of[group.value], used, evidence, found, correlations)
        for group in groups
        if group.value in level_of
    ]
    return sorted(able, key=lambda it: -it.recall)


def _candidate(
    group: Group, level: int, used: Sequence[int], evidence: Evidence, found: Mask, correlations: Sequence[float]
) -> _Candidate:
    frame = evidence.matched.object_frame
    sizes = tuple(evidence.sizes(group, it) for it in evidence.levels)
    replicates = {}
    for i in used:
        hits = evidence.levels[i].sums(frame[group.objects & found])
        drawn_hits, drawn = evidence.levels[i].totals(np.stack([hits, sizes[i]], axis=1))
        replicates[i] = np.divide(drawn_hits, drawn, out=np.full(len(drawn), np.nan), where=drawn > 0)
    return _Candidate(
        group=group,
        objects=int(group.objects.sum()),
        recall=float(found[group.objects].mean()),
        level=level,
        sizes=sizes,
        replicates=replicates,
        effects=tuple(bootstrap.design_effect(c, n) for c, n in zip(correlations, sizes, strict=True)),
    )


def _level(best: _Candidate, group: _Candidate) -> int:
    """The coarsest level that has clusters enough for both."""
    return max(best.level, group.level)


def _measure(
    group: _Candidate, best: _Candidate, evidence: Evidence, found: Mask, strata: Mapping[str, Sequence[Group]]
) -> _Pair:
    level = _level(best, group)
    stratified, shared = None, None
    if strata:
        stratified, shared = _stratified(best, group, level, evidence, found, list(strata.values()))
    raw = _raw(best, group, level)
    return _Pair(group, best, evidence.levels[level].unit, raw, stratified, tuple(strata), shared)


def _raw(best: _Candidate, group: _Candidate, level: int) -> Gap:
    return _gap(best.recall - group.recall, best.replicates[level] - group.replicates[level], best, group, level)


def _stratified(
    best: _Candidate, group: _Candidate, level: int, evidence: Evidence, found: Mask, strata: Sequence[Sequence[Group]]
) -> tuple[Gap | None, float]:
    """The gap at equal conditions, and the share of both groups' objects that has its like in the other group."""
    drawn = evidence.levels[level]
    stratum, count = _cross(strata, len(found))
    cluster = drawn.of_frame[evidence.matched.object_frame]
    sums = [
        _by_stratum(cluster[mask], stratum[mask], (len(drawn.counts), count))
        for it in (best, group)
        for mask in (it.group.objects & found, it.group.objects)
    ]
    here = [part.sum(axis=0) for part in sums]
    both = (here[1] > 0) & (here[3] > 0)
    shared = float((here[1] + here[3])[both].sum() / (here[1] + here[3]).sum())
    if shared < LEAST_SHARED:
        return None, shared
    totals = drawn.totals(np.concatenate([part[:, both] for part in sums], axis=1)).reshape(4, int(both.sum()), -1)
    gap = float(mantel_haenszel(*(part[both][:, None] for part in here))[0])
    return _gap(gap, mantel_haenszel(*totals), best, group, level), shared


def _cross(strata: Sequence[Sequence[Group]], objects: int) -> tuple[Indices, int]:
    """The stratum of each object (G,) by all attributes at once, and how many strata there are."""
    code: Indices = np.zeros(objects, np.int64)
    for groups in strata:
        own = np.zeros(objects, np.int64)  # those without a value are a stratum of their own
        for value, group in enumerate(groups, 1):
            own[group.objects] = value
        code = code * (len(groups) + 1) + own
    names, stratum = np.unique(code, return_inverse=True)
    return np.asarray(stratum, np.int64), len(names)


def _by_stratum(cluster: Indices, stratum: Indices, shape: tuple[int, int]) -> Floats:
    return np.bincount(cluster * shape[1] + stratum, minlength=shape[0] * shape[1]).reshape(shape).astype(np.float64)


def mantel_haenszel(best_hits: Floats, best: Floats, hits: Floats, objects: Floats) -> Floats:
    """Risk difference of Mantel and Haenszel, recall of the best minus recall of the group: (R,) from (K, R) counts.

    K = number of strata. NaN where no stratum has both.
    """
    total = np.maximum(best + objects, 1)
    weight = (best * objects / total).sum(axis=0)
    difference = ((best_hits * objects - hits * best) / total).sum(axis=0)
    return np.asarray(np.divide(difference, weight, out=np.full(len(weight), np.nan), where=weight > 0))


def _gap(gap: float, replicates: Floats, best: _Candidate, group: _Candidate, level: int) -> Gap:
    """A gap, how sure it is, and how likely one as large is where there is none (Student's test)."""
    clusters = min(best.clusters(level), group.clusters(level))
    error = bootstrap.spread(replicates, clusters)
    if error is None:
        return Gap(gap, -1.0, 1.0, math.inf, 1.0)
    error = max(error, _least_error(best, group, level))
    half = bootstrap.quantile(clusters) * error
    p = 2 * float(stdtr(max(clusters - 1, 1.0), -abs(gap) / error))
    return Gap(gap, max(gap - half, -1.0), min(gap + half, 1.0), error, p)


def _least_error(best: _Candidate, group: _Candidate, level: int) -> float:
    """The standard error of a gap where a group is found wholly or not at all, and no resample can vary it.

    With a hit and a miss more in each group (Agresti and Caffo 2000), times the design effect; else 0.
    """
    if not any(it.recall in {0.0, 1.0} for it in (best, group)):
        return 0.0
    more = [(it.recall * it.objects + 1, it.objects + 2, it.effects[level]) for it in (best, group)]
    return math.sqrt(sum(hits / n * (1 - hits / n) / n * effect for hits, n, effect in more))


def holm(p: Sequence[float]) -> list[float]:
    """Adjusted p-values (Holm 1979), in the order given.

    >>> [round(it, 3) for it in holm([0.01, 0.04, 0.03, 0.005])]
    [0.03, 0.06, 0.06, 0.02]
    """
    highest, result = 0.0, [0.0] * len(p)
    for rank, i in enumerate(sorted(range(len(p)), key=p.__getitem__)):
        highest = max(highest, min(1.0, p[i] * (len(p) - rank)))
        result[i] = highest
    return result


def support(recall: float, gap: float, alpha: float, design_effect: float) -> int:
    """Objects that each of two groups needs for a gap in recall to be found with a power of 0.8.

    Two proportions without continuity correction (Fleiss, Levin and Paik 2003, chapter 4), times the design effect.

    >>> support(0.9, 0.1, 0.05, 1.0)
    197
    """
    normal = NormalDist()
    other = recall - gap if recall >= gap else recall + gap
    spread = recall * (1 - recall) + other * (1 - other)
    return math.ceil((normal.inv_cdf(1 - alpha / 2) + normal.inv_cdf(POWER)) ** 2 * spread / gap**2 * design_effect)


@dataclass(frozen=True, slots=True, eq=False)
class _Judge:
    """Verdicts, and what they need to be reached."""

    evidence: Evidence
    found: Mask  # (G,)
    correlations: Sequence[float]  # of hits, by level
    limit: float
    tests: int  # that the correction counts

    def unmeasured(self, group: Group) -> Comparison:
        """A group with too few objects or clusters, or without another to be compared with."""
        level = self.evidence.level(group) or self.evidence.levels[-1]
        sizes = self.evidence.sizes(group, level)
        objects = int(sizes.sum())
        few = objects < self.evidence.min_support  # then the benchmark says better how many come in a cluster
        typical = level.sums(self.evidence.matched.object_frame) if few else sizes
        effect = bootstrap.design_effect(self.correlations[self.evidence.levels.index(level)], typical)
        needed = self._support(float(self.found.mean()), effect)
        return Comparison(
            attribute=group.attribute,
            value=group.value,
            objects=objects,
            recall=None if few else float(self.found[group.objects].mean()),
            verdict=NOT_ASSESSABLE,
            min_support=needed,
            more_objects=max(needed - objects, 0),
            more_clusters=max(MIN_CLUSTERS - int((sizes > 0).sum()), 0),
            unit=level.unit,
        )

    def measured(self, pair: _Pair, p_holm: float) -> Comparison:
        """A group beside the best one."""
        group, best = pair.group, pair.best
        verdict = decide(pair.decisive, p_holm, self.limit)
        undecided = verdict == NOT_ASSESSABLE
        return Comparison(
            attribute=group.group.attribute,
            value=group.group.value,
            objects=group.objects,
            recall=group.recall,
            verdict=verdict,
            min_support=self._support(best.recall, group.effects[_level(best, group)]),
            more_objects=_more(pair.decisive, group.objects, self.limit, self.tests) if undecided else 0,
            more_clusters=0,
            unit=pair.unit,
            reference=best.group.value,
            reference_recall=best.recall,
            ratio=group.recall / best.recall if best.recall else None,
            raw=pair.raw,
            stratified=pair.stratified,
            strata=pair.strata,
            shared=pair.shared,
            p_holm=p_holm,
            reading=_reading(pair, verdict),
        )

    def _support(self, recall: float, effect: float) -> int:
        return max(support(recall, self.limit, ALPHA / self.tests, effect), self.evidence.min_support)


def decide(gap: Gap, p_holm: float, limit: float) -> str:
    """The verdict: a gap that is surely within the limit is none to act on, however surely it is not zero."""
    if -limit < gap.low and gap.high < limit:
        return WITHIN
    return SHOWN if p_holm < ALPHA else NOT_ASSESSABLE


def _more(gap: Gap, objects: int, limit: float, tests: int) -> int:
    """Objects that are lacking for a gap of this size to be told either from zero or from the limit.

    The standard error falls with the root of their number; it holds the design effect as measured.
    """
    distance = max(abs(gap.gap), limit - abs(gap.gap))
    normal = NormalDist()
    asked = (normal.inv_cdf(1 - ALPHA / tests / 2) + normal.inv_cdf(POWER)) * gap.error / distance
    return max(math.ceil(objects * (asked**2 - 1)), 1) if math.isfinite(asked) else 0


def _reading(pair: _Pair, verdict: str) -> str:
    """What the strata change, in words."""
    if pair.stratified is None:
        return ""
    raw, equal, strata = pair.raw, pair.stratified, ", ".join(pair.strata)
    if raw.gap > 0 and equal.high < 0 and verdict == SHOWN:
        return f"reversed: at equal {strata} it does better than {pair.best.group.value}"
    if raw.clear and not equal.clear and verdict == WITHIN:
        return f"the raw gap comes from {strata}"
    if not raw.clear and verdict == SHOWN:
        return f"the raw gap hides it: it shows at equal {strata}"
    return ""


def told(comparisons: Sequence[Comparison]) -> Iterator[dict[str, object]]:
    """Comparisons as plain values, gaps among them."""
    for it in comparisons:
        row = {name: getattr(it, name) for name in Comparison.__slots__}
        for name in ("raw", "stratified"):
            gap = row[name]
            row[name] = None if gap is None else {"gap": gap.gap, "low": gap.low, "high": gap.high, "p": gap.p}
        yield row | {"strata": list(it.strata)}
