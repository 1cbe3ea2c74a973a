"""How good results are: video AP, the IoU of tracks, and files for the evaluation server."""

from maskfree_nb.evaluation.submission import write_submission
from maskfree_nb.evaluation.video_ap import VideoAP, boxes_as_masks, evaluate_videos, mean_track_iou

__all__ = ["VideoAP", "boxes_as_masks", "evaluate_videos", "mean_track_iou", "write_submission"]
