"""One self-contained HTML page in which to look around in a run: `polca explore`.

`Page` is what the page shows, whatever it was made from; `render` turns it into HTML; `preset_page` makes it from the
result files of a preset, `analysis_page` from those of `polca analyze`. The page holds it as one JSON object:

    page        title, source, settings: [setting]
    setting     id, title, note, flat_step (null: none), start: {analysis, vector},
                exact: {steps [C], mean [C]},                        mean exact loss over all tokens, nats
                tokens: {sequences: [[string]], sequence [X], place [X], first [X], last [X]},
                facets: [{title, categories: [{name, color}], values [X]}],
                trajectories: {key: {steps [Q], points, low [K, X], span [K, X], levels [K, X, Q], mean [K, P]}},
                analyses: [analysis], map (null: none): {trajectories (key), vectors, steps [S], scale, shares [2],
                x [X, S], y [X, S]}
    analysis    id, title, reading, note, quantity, unit, trajectories (key), convergence, steps [P], labels [K, X],
                vectors: [vector]
    vector      number (from 1), step (-1: none), kept, clusters: [cluster]
    cluster     number, name, fit (0: none), homogeneity (null: none), color, text_color, dash, break_step (null: none),
                hidden, size, medoid, nearest, projected [3, P], loss [3, C]               quartiles over members

Token x is the string `sequences[sequence[x]][place[x]]`; the strings around it are its context. `labels` are those of
`method.clustering.Clusters`. A facet says what a token is (skill, part of speech) and gives a cluster's composition.
A trajectory at point q is `low + span · levels[q] / 127`, so that its error is at most 1/254 of its own range; `mean`
is over all tokens. Analyses of the same trajectories share them, such as the two readings: standardised and raw. A
place on the map is `scale · x / 511`, without unit.
Arrays are packed as {type, shape, delta, data}: little-endian `u1`, `i2`, `i4` or `f4`, with `delta` as differences
(mod 256) along the last axis, compressed by zlib, in base 64; curves are plain lists with six significant digits.
"""

from polca.explorer.analyses import analysis_page
from polca.explorer.page import render, write_page
from polca.explorer.presets import preset_page
from polca.explorer.schema import Page

__all__ = ["Page", "analysis_page", "preset_page", "render", "write_page"]
