"""What is learned: Keras, NumPy, OpenCV; knows no S3, no SQL, no Prefect."""
