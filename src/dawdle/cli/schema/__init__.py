"""`dawdle schema`: what messages in a queue need of the code, in a file, and what a change of the code does to them.

classes (_classes, _models) ─► shapes, in the file (_file) ─► what does not fit (_fits) ─► findings (_compare, _advice)
"""
