# SPDX-License-Identifier: Apache-2.0
"""What istiod.py is made of."""
