"""The intermediate representation: typed, frozen, straight-line SSA.

`dims` and `types` say what flows, `graph` how, `schema` what ONNX allows, `infer` what follows; `build` records, `text`
prints and parses, `verify` checks, `evaluate` computes. Import from the rooms themselves: this file imports none.
"""
