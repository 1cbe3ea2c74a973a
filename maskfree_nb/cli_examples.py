"""The examples that `maskfree COMMAND --help` ends with."""

EXAMPLES = {
    "maskfree": """examples:
  maskfree demo                                  everything at once, in runs/demo
  maskfree data make runs/data                   the default data set, from a seed
  maskfree train runs/mine --annotations runs/data/train.json --images runs/data/train/JPEGImages
  maskfree eval runs/mine/model.safetensors --annotations runs/data/val.json --images runs/data/val/JPEGImages
  maskfree predict runs/mine/model.safetensors my_video.mp4 --out runs/my_video""",
    "make": """example:
  maskfree data make runs/data --seed 0""",
    "composites": """example:
  maskfree data composites runs/composites --annotations instances.json --images JPEGImages --seed 0""",
    "stats": """example:
  maskfree data stats --annotations runs/data/val.json --images runs/data/val/JPEGImages""",
    "train": """examples:
  maskfree train runs/mine --config demo --annotations train.json --images JPEGImages --image-size 160
  maskfree train runs/baseline --annotations train.json --images JPEGImages --supervision boxinst
  maskfree train runs/mine --resume
  maskfree train runs/five --annotations train.json --images JPEGImages --set clips.num_frames=5 batch_size=2
  accelerate launch --num_processes 8 -m maskfree_nb.cli train runs/big --annotations train.json \\
      --images JPEGImages --image-size 360 --preset r50 --batch-size 2 --set mixed_precision=bf16 \\
      init=model_final.pth criterion.box_warmup=0 learning_rate=1e-4 backbone_factor=0.1""",
    "eval": """examples:
  maskfree eval runs/mine/model.safetensors --annotations val.json --images JPEGImages
  maskfree eval runs/mine/model.safetensors --annotations val.json --images JPEGs --temporal --mask-scores""",
    "predict": """examples:
  maskfree predict runs/mine/model.safetensors my_video.mp4 --out runs/my_video
  maskfree predict runs/mine/model.safetensors my_video.mp4 --out runs/my_video --temporal
  maskfree predict runs/mine/model.safetensors folder_of_frames --out runs/my_video --score 0.3""",
    "label": """examples:
  maskfree train runs/mine --config demo --annotations boxes.json --images JPEGImages --image-size 160
  maskfree label runs/mine/model.safetensors --annotations boxes.json --images JPEGImages --out masks.json
  maskfree label runs/mine/model.safetensors --annotations b.json --images JPEGs --out m.json --shapes
  maskfree train runs/second --config demo --annotations m.json --images JPEGs --supervision masks \\
      --steps 4500 --batch-size 4 --set clips.num_frames=2""",
    "demo": """example:
  maskfree demo --out runs/demo""",
    "study": """examples:
  maskfree study main                            every supervision, three seeds: hours; it resumes if stopped
  maskfree study radius --seeds 0                an ablation
  maskfree study main --seeds 0 --set steps=500  a quick look
  maskfree study main --composites real/instances.json real/JPEGImages
  maskfree study main --clips mine.json JPEGImages --set init=tiny_boxes steps=600 clips.image_sizes=[160]""",
}
