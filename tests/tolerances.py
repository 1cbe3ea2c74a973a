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
    "oracle evaluation": dict(rtol=0.0, atol=1e-9),
}
