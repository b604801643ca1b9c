"""The vehicles of the built-in sample, one short drawing each; see objects."""

from clipknight.sample.pen import GLASS, INK, LIGHT, PAPER, STEEL, WOOD, Colour, Pen, shade


def car(p: Pen, c: Colour):
    p.blob(c, (20, 56), (30, 36), (44, 31), (60, 33), (74, 54), (48, 60))
    p.poly(GLASS, (29, 54), (35, 39), (46, 37), (46, 54))
    p.poly(GLASS, (50, 37), (57, 38), (67, 54), (50, 54))
    p.blob(c, (3, 60), (20, 53), (72, 53), (94, 59), (98, 76), (90, 82), (10, 82), (2, 76))
    p.box(shade(c, 0.7), 4, 76, 97, 80)
    p.line(shade(c, 0.6), 1.2, (48, 56), (48, 75))
    p.oval(LIGHT, 93, 65, 3.5, 3)
    p.box((190, 40, 40), 3, 62, 6, 68)
    for _ in p.sides():
        for colour, r in ((INK, 11.5), (STEEL, 6.5), (INK, 2)):
            p.oval(colour, 76, 82, r)


def sailboat(p: Pen, c: Colour):
    p.box(WOOD, 48, 3, 51, 76)
    p.blob(c, (53, 6), (74, 36), (90, 66), (53, 68), (53, 40))
    p.blob(shade(c, 1.5), (46, 12), (46, 68), (12, 67), (32, 40))
    p.poly((210, 60, 50), (50, 2), (62, 5), (50, 9))
    p.blob(shade(WOOD, 1.1), (4, 74), (50, 78), (97, 73), (84, 93), (50, 96), (18, 93))
    p.line(PAPER, 2, (10, 81), (50, 85), (91, 80))


def airplane(p: Pen, c: Colour):
    p.poly(shade(c, 0.75), (44, 46), (36, 20), (44, 20), (60, 46))
    p.poly(c, (6, 48), (1, 20), (10, 20), (24, 46))
    p.blob(PAPER, (3, 44), (30, 41), (80, 41), (98, 52), (84, 61), (30, 60))
    p.blob(c, (6, 52), (50, 54), (95, 55), (82, 62), (30, 61))
    for x in range(28, 76, 8):
        p.oval((70, 110, 150), x, 48.5, 2.2)
    p.poly((70, 110, 150), (85, 44), (93, 48), (85, 49))
    p.poly(shade(c, 0.85), (3, 47), (0, 56), (5, 57), (17, 50))
    p.poly(shade(c, 0.85), (42, 56), (26, 86), (36, 86), (64, 57))


def balloon(p: Pen, c: Colour):
    p.line((120, 120, 126), 1.2, (50, 70), (54, 80), (46, 88), (50, 98))
    p.poly(shade(c, 0.75), (50, 64), (56, 72), (44, 72))
    p.blob(c, (50, 2), (74, 12), (81, 34), (68, 58), (50, 68), (32, 58), (19, 34), (26, 12))
    p.oval(shade(c, 1.65), 36, 22, 5, 10, 28)
