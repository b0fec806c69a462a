def translate(error, model): return error
