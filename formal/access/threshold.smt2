; A gate of m nodes, any t of which can answer. A revocation is acknowledged when t nodes say that they have it.
; Nodes are counted, not named: c corrupt ones always give their part, honest ones while they hold the grant.
(declare-const mutant Int)
(declare-const m Int) (declare-const t Int) (declare-const c Int)
(assert (and (> m 0) (<= 1 t) (<= t m) (<= 0 c) (<= c m)))

(declare-datatypes ((S 0)) (((mk
  (holding Int)    ; honest nodes that hold the grant
  (ended Int)      ; honest nodes that have processed the revocation
  (opened Bool) (parts Int)))))
(declare-datatypes ((I 0)) (((in (act Int) (x Int)))))

(define-fun init ((s S)) Bool (and (= (holding s) 0) (= (ended s) 0) (not (opened s)) (= (parts s) 0)))
(define-fun grant ((s S) (i I) (n S)) Bool
  (and (< (+ (holding s) (ended s)) (- m c)) (= n (mk (+ (holding s) 1) (ended s) false 0))))
(define-fun revoke ((s S) (i I) (n S)) Bool
  (and (> (holding s) 0) (= n (mk (ite (= mutant 2) (holding s) (- (holding s) 1)) (+ (ended s) 1) false 0))))
(define-fun open ((s S) (i I) (n S)) Bool
  (and (<= 0 (x i)) (<= (x i) (+ c (holding s))) (>= (x i) (ite (= mutant 1) (- t 1) t))
       (= n (mk (holding s) (ended s) true (x i)))))
(define-fun trans ((s S) (i I) (n S)) Bool
  (or (and (= (act i) 0) (grant s i n)) (and (= (act i) 1) (revoke s i n)) (and (= (act i) 2) (open s i n))))
(define-fun inv ((s S)) Bool
  (and (<= 0 (holding s)) (<= 0 (ended s)) (<= (+ (holding s) (ended s)) (- m c))
       (=> (opened s) (and (>= (parts s) t) (<= (parts s) (+ c (holding s)))))))
;! property fewer than t nodes open nothing
;! caught-by 1
(define-fun prop1 ((s S)) Bool (=> (opened s) (>= (parts s) t)))
;! property a revocation is in force once more than m - t nodes, all of them honest, have processed it
;! caught-by 2
(define-fun prop2 ((s S)) Bool (=> (and (opened s) (> (ended s) (- m t))) false))
;! property without a corrupt node, what t nodes have acknowledged is revoked, since t is more than half
;! caught-by 2
(define-fun prop3 ((s S)) Bool (=> (and (opened s) (= c 0) (> (* 2 t) m) (>= (ended s) t)) false))
;! reachable an opening though t nodes, a corrupt one among them, say that they have the revocation
(define-fun reach2 ((s S)) Bool (and (opened s) (> (* 2 t) m) (< c t) (>= (+ c (ended s)) t) (> (ended s) 0)))
;! reachable an opening though one node has processed the revocation
(define-fun reach1 ((s S)) Bool (and (opened s) (= (ended s) 1)))
