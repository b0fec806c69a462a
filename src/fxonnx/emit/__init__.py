"""IR -> ONNX: names, the ModelProto, and files whose weights are streamed from where they lie."""
