//! What is to be seen: colour bars, the number of the frame, a mark that moves.
//!
//! Shape: a grid of tiles, one for each macroblock. From the top: a black box with the digits, the
//! row of the mark, a row of bars; below is nothing but bars, where noise may stand.

use super::parameter_sets::PictureSize;

/// A colour of BT.709 in video range. Chroma is even, for it is coded in steps of two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Colour {
    pub(super) luma: u8,
    pub(super) blue: u8,
    pub(super) red: u8,
}

impl Colour {
    const fn new(luma: u8, blue: u8, red: u8) -> Self {
        Self { luma, blue, red }
    }
}

const BLACK: Colour = Colour::new(16, 128, 128);
const WHITE: Colour = Colour::new(235, 128, 128);
const ORANGE: Colour = Colour::new(150, 60, 180);

/// White, yellow, cyan, green, magenta, red, blue at 75 %, and grey.
const BARS: [Colour; 8] = [
    Colour::new(180, 128, 128),
    Colour::new(168, 44, 136),
    Colour::new(145, 148, 44),
    Colour::new(134, 64, 52),
    Colour::new(63, 194, 204),
    Colour::new(51, 110, 212),
    Colour::new(28, 212, 120),
    Colour::new(80, 128, 128),
];

/// Digits as rows of three tiles, the leftmost in the highest bit.
const GLYPHS: [[u8; GLYPH_ROWS as usize]; 10] = [
    [7, 5, 5, 5, 7],
    [2, 6, 2, 2, 7],
    [7, 1, 7, 4, 7],
    [7, 1, 7, 1, 7],
    [5, 5, 7, 1, 1],
    [7, 4, 7, 1, 7],
    [7, 4, 7, 5, 7],
    [7, 1, 1, 1, 1],
    [7, 5, 7, 5, 7],
    [7, 5, 7, 1, 7],
];
const GLYPH_COLUMNS: u32 = 3;
const GLYPH_ROWS: u32 = 5;

/// A digit and the gap behind it.
const DIGIT_COLUMNS: u32 = GLYPH_COLUMNS + 1;
const DIGITS_MAX: u32 = 8;

/// The box around the digits: a margin above and below.
const BOX_ROWS: u32 = GLYPH_ROWS + 2;

/// The box, the mark, and a row of bars that ends the drawing.
const DRAWN_ROWS: u32 = BOX_ROWS + 2;

/// The picture of one frame.
#[derive(Clone, Debug)]
pub(super) struct Canvas {
    tiles: Vec<Colour>,
    columns: u32,
    rows: u32,
    digits: u32,
    drawn: u64,
    changed: Vec<u32>,
}

impl Canvas {
    /// The picture of frame 0.
    pub(super) fn new(size: PictureSize) -> Self {
        let (columns, rows) = (size.columns(), size.rows());
        let digits = if rows < DRAWN_ROWS { 0 } else { (columns / DIGIT_COLUMNS).min(DIGITS_MAX) };
        let bar = |column: u32| BARS[(column * BARS.len() as u32 / columns) as usize];
        let tiles = (0..columns * rows).map(|tile| bar(tile % columns)).collect();
        let mut canvas = Self { tiles, columns, rows, digits, drawn: 0, changed: Vec::new() };
        for row in 0..=canvas.mark_row() {
            let width = if row == canvas.mark_row() { columns } else { canvas.box_columns() };
            (0..width).for_each(|column| canvas.set(column, row, BLACK));
        }
        for place in 0..digits {
            canvas.draw_digit(place, 0);
        }
        canvas.draw_mark();
        canvas.changed.clear();
        canvas
    }

    /// Draws a frame; its tiles that differ from the frame drawn before are [`Self::changed`].
    pub(super) fn draw(&mut self, frame: u64) {
        self.changed.clear();
        self.set(self.mark_column(), self.mark_row(), BLACK);
        let before = std::mem::replace(&mut self.drawn, frame);
        self.draw_mark();
        for place in 0..self.digits {
            let scale = 10_u64.pow(self.digits - 1 - place);
            let [from, to] = [before, frame].map(|frame| frame / scale % 10);
            if from != to {
                self.draw_digit(place, to);
            }
        }
        self.changed.sort_unstable();
        self.changed.dedup();
    }

    /// Tiles that the last drawing changed, in the order of decoding.
    pub(super) fn changed(&self) -> &[u32] {
        &self.changed
    }

    /// Tiles in all.
    pub(super) const fn len(&self) -> u32 {
        self.columns * self.rows
    }

    /// Tiles of the upper rows, which are drawn to; those after them are bars for ever.
    pub(super) fn drawn_len(&self) -> u32 {
        self.columns * (self.mark_row() + 2).min(self.rows)
    }

    /// The colour of a tile.
    pub(super) fn colour(&self, tile: u32) -> Colour {
        self.tiles[tile as usize]
    }

    /// The tile above.
    pub(super) fn above(&self, tile: u32) -> Option<Colour> {
        tile.checked_sub(self.columns).map(|above| self.colour(above))
    }

    /// The tile to the left.
    pub(super) fn left(&self, tile: u32) -> Option<Colour> {
        (!tile.is_multiple_of(self.columns)).then(|| self.colour(tile - 1))
    }

    const fn box_columns(&self) -> u32 {
        self.digits * DIGIT_COLUMNS
    }

    const fn mark_row(&self) -> u32 {
        if self.digits > 0 { BOX_ROWS } else { 0 }
    }

    fn mark_column(&self) -> u32 {
        (self.drawn % u64::from(self.columns)) as u32
    }

    /// The mark changes its colour, too: a picture may be one tile wide.
    fn draw_mark(&mut self) {
        let colour = if self.drawn.is_multiple_of(2) { WHITE } else { ORANGE };
        self.set(self.mark_column(), self.mark_row(), colour);
    }

    fn draw_digit(&mut self, place: u32, digit: u64) {
        for (row, line) in GLYPHS[digit as usize].into_iter().enumerate() {
            for column in 0..GLYPH_COLUMNS {
                let lit = line >> (GLYPH_COLUMNS - 1 - column) & 1 == 1;
                let colour = if lit { WHITE } else { BLACK };
                // Half a gap would be no whole tile: the gap stands behind the digit.
                self.set(place * DIGIT_COLUMNS + column, row as u32 + 1, colour);
            }
        }
    }

    fn set(&mut self, column: u32, row: u32, colour: Colour) {
        let tile = row * self.columns + column;
        let old = std::mem::replace(&mut self.tiles[tile as usize], colour);
        if old != colour {
            self.changed.push(tile);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_frame_differs_from_the_one_before() {
        for size in ["1280x720", "320x180", "64x144", "16x16", "16x160", "128x144"] {
            let size = PictureSize::parse(size).unwrap();
            let mut canvas = Canvas::new(size);
            let mut before = canvas.tiles.clone();
            for frame in 1..130 {
                canvas.draw(frame);
                let differs = |tile: &u32| canvas.tiles[*tile as usize] != before[*tile as usize];
                let differing: Vec<u32> = (0..canvas.len()).filter(differs).collect();
                assert!(!differing.is_empty(), "{size:?} {frame}");
                assert!(differing.iter().all(|tile| canvas.changed().contains(tile)));
                assert!(canvas.changed().is_sorted());
                assert!(canvas.changed().iter().all(|tile| *tile < canvas.drawn_len()));
                before.clone_from(&canvas.tiles);
            }
        }
    }

    #[test]
    fn the_number_can_be_read() {
        let mut canvas = Canvas::new(PictureSize::DEFAULT);
        for frame in 1..=407 {
            canvas.draw(frame);
        }
        let row = |row: u32| -> String {
            let lit = |column| canvas.colour(row * 80 + column) == WHITE;
            (0..32).map(|column| if lit(column) { '#' } else { ' ' }).collect()
        };
        assert_eq!(row(1).trim_end(), "### ### ### ### ### # # ### ###");
        assert_eq!(row(3).trim_end(), "# # # # # # # # # # ### # #   #");
        assert_eq!(row(5).trim_end(), "### ### ### ### ###   # ###   #");
    }
}
