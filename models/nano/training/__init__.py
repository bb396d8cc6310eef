"""How nano is trained: pictures, augmentation, teachers, losses, the loop, and the fit of the text space."""
