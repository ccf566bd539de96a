"""The script that one writes in an afternoon, to compare with: download, Keras data set, predict, to_sql.

No checks, no lineage, no second try, nothing overlaps but what Keras overlaps by itself.
Run as `python -m tests.bench.plain_script PREFIX MODEL`, with the environment of a night.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from pathlib import Path

os.environ["CUDA_VISIBLE_DEVICES"] = "-1"

import boto3
import keras
import pandas as pd
import sqlalchemy as sa
from botocore.config import Config

CLASSES = ("COVID-19", "NORMAL", "PNEUMONIA")


def main(prefix: str, model_path: str) -> None:
    began = time.perf_counter()
    model = keras.models.load_model(model_path)
    bucket = os.environ["CXR_S3_BUCKET"]
    s3 = boto3.client(
        "s3", endpoint_url=os.environ["CXR_S3_ENDPOINT_URL"], config=Config(s3={"addressing_style": "path"})
    )
    with tempfile.TemporaryDirectory() as folder:
        keys = {}
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
            for item in page["Contents"]:
                name = item["Key"].replace("/", "_")
                s3.download_file(bucket, item["Key"], f"{folder}/{name}")
                keys[name] = item["Key"]
        images = keras.utils.image_dataset_from_directory(
            folder,
            labels=None,
            color_mode="grayscale",
            image_size=(224, 224),
            batch_size=32,
            shuffle=False,
            verbose=False,
        )
        paths = images.file_paths
        answers = model.predict(images, verbose=0)
    rows = pd.DataFrame(answers, columns=CLASSES)
    rows.insert(0, "key", [keys[Path(path).name] for path in paths])
    rows["predicted"] = rows[list(CLASSES)].idxmax(axis=1)
    url = sa.make_url(os.environ["CXR_DATABASE_URL"]).set(drivername="postgresql+psycopg2")
    rows.to_sql("plain_predictions", sa.create_engine(url), if_exists="append", index=False)
    print(json.dumps({"images": len(rows), "seconds": time.perf_counter() - began}))  # noqa: T201 - its answer


if __name__ == "__main__":
    main(*sys.argv[1:])
