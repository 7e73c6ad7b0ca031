; Section epochs, and a gate that cheats: it keeps every scalar it was ever sent, and colludes with a reader.
;
; One section, one reader (by name or through a group: "leaves" is being revoked, or removed from the group), one
; record. Epochs are unbounded.
(declare-const mutant Int)

(declare-datatypes ((S 0)) (((mk
  (cur Int)                 ; newest epoch
  (last Int)                ; ghost: newest epoch before the last step
  (reads Bool)              ; the owner means this reader to read
  (gone Int)                ; newest epoch when the reader last ceased to be meant; -1 if never
  (kept (Array Int Bool))   ; epochs for which the cheating gate holds a scalar that fits a key the reader has
  (record Int)              ; epoch the record was sealed to; -1 before it was written
  (after Bool)              ; ghost: the record was written after the epoch that followed the reader's leaving
))))
(declare-datatypes ((I 0)) (((in (act Int) (e Int)))))

(define-fun init ((s S)) Bool
  (and (= (cur s) 0) (= (last s) 0) (not (reads s)) (= (gone s) (- 1)) (= (record s) (- 1)) (not (after s))
       (forall ((k Int)) (not (select (kept s) k)))))

(define-fun grant ((s S) (i I) (t S)) Bool      ; of any epoch there is; the gate keeps the scalar for ever
  (and (<= 0 (e i)) (<= (e i) (cur s)) (= (gone s) (- 1))
       (= t (mk (cur s) (cur s) true (gone s) (store (kept s) (e i) true) (record s) (after s)))))

(define-fun leave ((s S) (i I) (t S)) Bool      ; revoked, or removed: an honest gate's row is gone; the kept one is not
  (and (reads s) (= t (mk (cur s) (cur s) false (cur s) (kept s) (record s) (after s)))))

(define-fun advance ((s S) (i I) (t S)) Bool    ; the next epoch, with grants for whoever is meant to go on
  (let ((n (ite (= mutant 3) (e i) (+ (cur s) 1))))
  (= t (mk n (cur s) (reads s) (gone s) (store (kept s) n (or (select (kept s) n) (reads s) (= mutant 1))) (record s) (after s)))))

(define-fun write ((s S) (i I) (t S)) Bool      ; the gate refuses a batch that is not sealed to the newest epoch
  (and (= (record s) (- 1)) (or (= mutant 2) (= (e i) (cur s))) (<= 0 (e i)) (<= (e i) (cur s))
       (= t (mk (cur s) (cur s) (reads s) (gone s) (kept s) (e i) (and (>= (gone s) 0) (> (cur s) (gone s)))))))

(define-fun trans ((s S) (i I) (t S)) Bool
  (or (and (= (act i) 0) (grant s i t)) (and (= (act i) 1) (leave s i t)) (and (= (act i) 2) (advance s i t))
      (and (= (act i) 3) (write s i t))))

(define-fun inv ((s S)) Bool
  (and (>= (cur s) 0) (<= (last s) (cur s)) (>= (gone s) (- 1)) (<= (gone s) (cur s)) (=> (reads s) (= (gone s) (- 1)))
       (forall ((k Int)) (=> (and (>= (gone s) 0) (> k (gone s))) (not (select (kept s) k))))
       (forall ((k Int)) (=> (> k (cur s)) (not (select (kept s) k))))
       (=> (after s) (and (>= (gone s) 0) (> (record s) (gone s))))))

;! property epochs only advance
;! caught-by 3
(define-fun prop1 ((s S)) Bool (>= (cur s) (last s)))
;! property who left never opens what is written in a later epoch, even with a gate that kept every scalar
;! caught-by 1 2
(define-fun prop2 ((s S)) Bool (=> (after s) (not (select (kept s) (record s)))))
;! reachable who left opens, with such a gate, what was written before the next epoch
(define-fun reach1 ((s S)) Bool (and (>= (gone s) 0) (not (after s)) (>= (record s) 0) (select (kept s) (record s))))
