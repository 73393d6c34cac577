"""Programs whose float32 matrices are multiplied by a library of choice."""

from timing import Program

from inference.system.products import Products, better_products, products_by


def by(library: Products, program: Program) -> Program:
    def run() -> float | None:
        with products_by(library):
            return program()

    return run


def by_the_faster(program: Program) -> Program:
    """The program with the library that this project would choose, by a public setting of PyTorch."""
    return by(better_products(), program)
