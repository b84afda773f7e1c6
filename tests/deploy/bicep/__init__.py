"""A checker of Bicep in Python, for machines without Microsoft's compiler.

`syntax` reads expressions, `declarations` a file, `program` a file with the modules it names. `shapes` is what a value
can be, `arm_types` and `outlines` say it of resources, `functions` of built-in functions. `inference` says it of an
expression and finds unknown symbols, members and outputs on the way; `checker` compares what is given with what is
wanted. It is no compiler: what it does not know it lets pass.
"""
