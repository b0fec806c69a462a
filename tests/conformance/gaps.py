EXCLUDED={"x":frozenset()}
UNINITIALIZED=frozenset(["empty","empty_like","empty_permuted","empty_strided","new_empty","new_empty_strided"])
POSITIONS_AMONG_EQUALS={"argsort":0,"kthvalue":1,"mode":0,"sort":0,"topk":1}
