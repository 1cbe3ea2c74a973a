"""Every tolerance of the tests, in one table: how far two numbers may be apart, and why."""

TOL = {
    # golden numbers: the tolerances that their READMEs state
    "oracle losses": dict(rtol=1e-5, atol=0.0),
    "oracle gradients": dict(rtol=0.0, atol=1e-6),
    "oracle similarities": dict(rtol=0.0, atol=1e-6),
    "oracle Lab": dict(rtol=0.0, atol=1e-4),
    "oracle pair term": dict(rtol=0.0, atol=1e-13),
    "oracle pred_masks": dict(rtol=0.0, atol=2e-4),
    "oracle pred_logits": dict(rtol=0.0, atol=2e-5),
    "oracle backbone": dict(rtol=0.0, atol=1e-4),
    "oracle model, other": dict(rtol=0.0, atol=2e-5),
    "oracle deformable attention, float64": dict(rtol=0.0, atol=1e-12),
    "oracle deformable attention, float32": dict(rtol=0.0, atol=1e-4),
    "oracle matching cost": dict(rtol=0.0, atol=1e-9),  # float64, stored to 1e-15
    "oracle class cost": dict(rtol=0.0, atol=2e-7),  # float32 softmax of float32 logits
    "oracle evaluation": dict(rtol=0.0, atol=1e-9),
    # the matcher
    "sampled integral": dict(rtol=0.0, atol=5e-3),  # 400 x 400 midpoints against the closed form
    # two processes average two batch means; one process takes the mean of twice the batch
    "two processes against one": dict(rtol=0.03, atol=0.0),
    # criterion
    "float32 sums": dict(rtol=1e-5, atol=1e-6),
    # a filled box: mean of the middle 2x2 of 4x4 pixels (bilinear) against the mean of all 16 (area)
    "stride-4 mean against bilinear": dict(rtol=0.05, atol=0.0),
}
