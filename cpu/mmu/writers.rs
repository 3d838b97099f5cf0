//! Which TLB entries let stores go to a page of RAM: so that a page can leave the fast path (it holds code or a paging structure now) without
//! looking through all views.

use undercroft_tlb::{Tlb, ViewId};

/// log2 of the number of entries of a view.
const INDEX_BITS: u32 = undercroft_tlb::ENTRIES.trailing_zeros();
/// With the index of an entry: that entry of any view. An operating system's own mapping of a page has the same index in all address spaces.
const ANY_VIEW: u32 = 1 << 31;

/// For each page up to four places, each one entry of one view (its number plus one) or the entry with one index in all views. There are never more: a
/// fifth takes the place of another, whose entries lose their permission to write until they are filled again. So noting takes bounded time, and
/// so does forbidding.
pub struct Writers(Vec<[u32; 4]>);

impl Writers {
    /// For so many pages of RAM.
    pub fn new(pages: u64) -> Writers {
        Writers(vec![[0; 4]; pages as usize])
    }
    /// An entry of a view now lets stores go to a page.
    #[inline]
    pub fn note(&mut self, tlb: &mut Tlb, page: u64, view: ViewId, index: usize) {
        let Some(places) = self.0.get_mut(page as usize) else { return };
        let me = (view.0 << INDEX_BITS | index as u32) + 1;
        for place in places.iter_mut() {
            if *place == me || *place == ANY_VIEW | index as u32 {
                return;
            }
            // Places are taken from the first on.
            if *place == 0 {
                *place = me;
                return;
            }
        }
        make_place(places, tlb, page, me, index);
    }
    /// No entry lets stores go to a page any more.
    pub fn forbid(&mut self, tlb: &mut Tlb, page: u64) {
        let Some(places) = self.0.get_mut(page as usize) else { return };
        for place in std::mem::take(places) {
            forbid_place(tlb, page, place);
        }
    }
}

const fn is_any(place: u32) -> bool {
    place & ANY_VIEW != 0
}
const fn entry_of(place: u32) -> (ViewId, usize) {
    let entry = place - 1;
    (ViewId(entry >> INDEX_BITS), (entry & ((1 << INDEX_BITS) - 1)) as usize)
}

#[cold]
fn make_place(places: &mut [u32; 4], tlb: &mut Tlb, page: u64, me: u32, index: usize) {
    let stale = |place: u32| {
        let (view, index) = entry_of(place);
        !tlb.writes_to(view, index, page)
    };
    if let Some(place) = places.iter_mut().find(|p| !is_any(**p) && stale(**p)) {
        *place = me;
        return;
    }
    if let Some(place) = places.iter_mut().find(|p| !is_any(**p) && entry_of(**p).1 == index) {
        *place = ANY_VIEW | index as u32;
        return;
    }
    forbid_place(tlb, page, places[0]);
    places.rotate_left(1);
    places[3] = me;
}

fn forbid_place(tlb: &mut Tlb, page: u64, place: u32) {
    if is_any(place) {
        tlb.forbid_writes_at((place & !ANY_VIEW) as usize, page);
    } else if place != 0 {
        let (view, index) = entry_of(place);
        tlb.forbid_writes(view, index, page);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use undercroft_ram::Ram;
    use undercroft_tlb::Permissions;

    const WRITE: Permissions = Permissions { read: false, write: true, fetch: false };

    fn fill(w: &mut Writers, tlb: &mut Tlb, view: ViewId, linear: u64) {
        assert!(tlb.fill(view, linear, 1, WRITE));
        w.note(tlb, 1, view, Tlb::index_of(linear));
    }

    #[test]
    fn forbidden_page_is_written_by_no_entry_however_many_there_were() {
        let mut tlb = Tlb::new(Ram::new(2 * 4096).expect("RAM"));
        let mut w = Writers::new(2);
        let views: Vec<ViewId> = (0..9).map(|_| tlb.add_view()).collect();
        let addresses = [0x7000, 0x9000, 0xb000, 0xd000, 0xf000];
        let places: Vec<(ViewId, u64)> = addresses.iter().flat_map(|at| views.iter().map(|v| (*v, *at))).collect();
        for (view, at) in &places {
            fill(&mut w, &mut tlb, *view, *at);
        }
        let writes = |tlb: &Tlb| places.iter().filter(|(v, at)| tlb.writes_to(*v, Tlb::index_of(*at), 1)).count();
        assert!(writes(&tlb) > 4);
        w.forbid(&mut tlb, 1);
        assert_eq!(writes(&tlb), 0);
    }

    #[test]
    fn one_address_in_many_views_stays_writable_in_all() {
        let mut tlb = Tlb::new(Ram::new(2 * 4096).expect("RAM"));
        let mut w = Writers::new(2);
        let views: Vec<ViewId> = (0..9).map(|_| tlb.add_view()).collect();
        for view in &views {
            fill(&mut w, &mut tlb, *view, 0x7000);
        }
        assert!(views.iter().all(|v| tlb.writes_to(*v, Tlb::index_of(0x7000), 1)));
        w.forbid(&mut tlb, 1);
        assert!(views.iter().all(|v| !tlb.writes_to(*v, Tlb::index_of(0x7000), 1)));
    }
}
