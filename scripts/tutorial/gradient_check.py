#!/usr/bin/env python3
"""Checks RMSNorm's hand-written backward pass against central differences. docs/tutorial/04-gradients.md explains it.

    .venv/bin/python scripts/tutorial/gradient_check.py                 the whole gradient
    .venv/bin/python scripts/tutorial/gradient_check.py --without-slope   leaves out the way through the root mean square
"""

import argparse

import numpy as np


def forward(x, weight, epsilon=1e-5):
    """y = x / √(mean x² + ε) · w, and the reciprocal of the root."""
    reciprocal = 1 / np.sqrt((x * x).mean() + epsilon)
    return x * reciprocal * weight, reciprocal


def backward(d_output, x, weight, reciprocal, with_slope):
    """The gradient of the input: directly through x, and through the root mean square that every x is part of."""
    direct = d_output * weight * reciprocal
    slope = -reciprocal ** 3 * (d_output * weight * x).sum() / len(x)
    return direct + slope * x if with_slope else direct


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--without-slope", action="store_true")
    arguments = parser.parse_args()
    generator = np.random.default_rng(1)
    x, weight, d_output = generator.normal(size=(3, 8))

    def loss(x):
        """Any number that depends on the output: its gradient with respect to the output is d_output."""
        return (forward(x, weight)[0] * d_output).sum()

    gradient = backward(d_output, x, weight, forward(x, weight)[1], not arguments.without_slope)
    print("distance h   (loss(x + h) - loss(x - h)) / 2h, compared with the gradient: largest difference")
    for power in range(1, 12):
        h = 10.0 ** -power
        differences = [(loss(x + h * unit) - loss(x - h * unit)) / (2 * h) for unit in np.eye(len(x))]
        print(f"   1e-{power:02d}      {np.abs(differences - gradient).max():.1e}")


if __name__ == "__main__":
    main()
