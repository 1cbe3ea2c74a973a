"""The Temporal KNN-patch Loss: candidates, matching, consistency, tube; `TKLoss` over them."""
