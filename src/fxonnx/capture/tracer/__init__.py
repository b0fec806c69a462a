"""Capture by running: the model once on fake tensors, each aten call recorded before it is decomposed.

    program = capture(example, signature, mode)

    strategy, attempts/   runs by a plan: where one fails, the first remedy that applies says how the next one goes
    run, record           one run, and the tape on which each call leaves a node
    program               the Program made of a run
      sizes/              symbolic sizes: our own dims behind `torch.SymInt`s, for C++ and Python alike
      python/             functions of Python's and NumPy's for which a size stays an expression
      results/            what a call returns on fake tensors, asked of torch once for each kind of call
      known/              the values of what hangs on no input
      quantized/          quantized tensors of torch.ao's eager mode, as floats on their steps
      higher_order/       the functions that torch's higher-order ops call, as bodies
      decisions/          where Python decides by data, and what the run answers
    paths/                a run for each answer, and their graphs joined to one
    loops/                runs at several sizes that loop over them, rolled up to one graph with a loop
    plain/                runs at several sizes, which tell how plain numbers were computed of them

Comparisons of sizes are logged with the user's line (`sizes/guards`), and classified when the run is over
(`constraints`, a room of capture's).
"""

from fxonnx.capture.tracer.strategy import capture

__all__ = ["capture"]
