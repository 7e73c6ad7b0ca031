; Grants and revocations of one section and epoch to one reader; the network replays whatever was ever signed.
;
; By symmetry one owner, section, epoch and reader suffice: a row of the gate's store depends on no other row.
; Times are unbounded integers. mutant = 0 is the gate as it is built; another number drops the guard it stands at.
(declare-const mutant Int)

(declare-datatypes ((S 0)) (((mk
  (now Int)
  (row Bool)        ; the gate holds a scalar
  (made Int)        ; when the grant it is from was signed
  (from Int)        ; first moment it holds
  (til Int)         ; first moment it no longer holds
  (forp Int)        ; the purpose it is for; 0 is any
  (tomb Int)        ; time of the newest revocation the gate has processed
  (revoked Int)     ; ghost: time of the newest revocation the owner was told is in force
  (opened Bool)     ; ghost: an opening has happened in the last step
  (why Int)         ; ghost: the purpose it was for
))))
; What happens: which action, and its parameters, all chosen by the adversary.
(declare-datatypes ((I 0)) (((in (act Int) (t1 Int) (t2 Int) (t3 Int) (p Int)))))

(define-fun init ((s S)) Bool (and (not (row s)) (= (tomb s) (- 1)) (= (revoked s) (- 1)) (not (opened s)) (>= (now s) 0)))

(define-fun quiet ((s S) (t S)) Bool (and (not (opened t)) (= (why t) (why s))))
(define-fun same-grant ((s S) (t S)) Bool
  (and (= (row t) (row s)) (= (made t) (made s)) (= (from t) (from s)) (= (til t) (til s)) (= (forp t) (forp s))))

(define-fun tick ((s S) (i I) (t S)) Bool
  (and (> (t1 i) (now s)) (= (now t) (t1 i)) (same-grant s t) (= (tomb t) (tomb s)) (= (revoked t) (revoked s)) (quiet s t)))

; A grant the owner signed at t1, now or ever: a replay looks the same.
(define-fun grant ((s S) (i I) (t S)) Bool
  (and (<= (t1 i) (now s)) (>= (t1 i) 0) (< (t2 i) (t3 i))
       (or (= mutant 1) (> (t1 i) (tomb s)))                       ; made after every revocation known
       (or (not (row s)) (> (t1 i) (made s)))                      ; and after the grant it replaces
       (row t) (= (made t) (t1 i)) (= (from t) (t2 i)) (= (til t) (t3 i)) (= (forp t) (p i))
       (= (now t) (now s)) (= (tomb t) (tomb s)) (= (revoked t) (revoked s)) (quiet s t)))

; A revocation signed at t1; refused when a newer grant would stay in force.
(define-fun revoke ((s S) (i I) (t S)) Bool
  (and (<= (t1 i) (now s)) (>= (t1 i) 0)
       (or (not (row s)) (<= (made s) (t1 i)))
       (= (row t) (and (= mutant 2) (row s))) (= (made t) (made s)) (= (from t) (from s)) (= (til t) (til s)) (= (forp t) (forp s))
       (= (tomb t) (ite (> (t1 i) (tomb s)) (t1 i) (tomb s)))
       (= (revoked t) (ite (> (t1 i) (revoked s)) (t1 i) (revoked s)))
       (= (now t) (now s)) (quiet s t)))

; A search for purpose p that this row permits.
(define-fun open ((s S) (i I) (t S)) Bool
  (and (row s)
       (or (= mutant 3) (and (<= (from s) (now s)) (< (now s) (til s))))
       (or (= mutant 4) (= (forp s) 0) (= (forp s) (p i)))
       (same-grant s t) (= (now t) (now s)) (= (tomb t) (tomb s)) (= (revoked t) (revoked s))
       (opened t) (= (why t) (p i))))

; The gate dies and starts again: what is stored stays, nothing else was there.
(define-fun crash ((s S) (i I) (t S)) Bool
  (and (same-grant s t) (= (tomb t) (ite (= mutant 5) (- 1) (tomb s))) (= (revoked t) (revoked s)) (= (now t) (now s)) (quiet s t)))

(define-fun trans ((s S) (i I) (t S)) Bool
  (or (and (= (act i) 0) (tick s i t)) (and (= (act i) 1) (grant s i t)) (and (= (act i) 2) (revoke s i t))
      (and (= (act i) 3) (open s i t)) (and (= (act i) 4) (crash s i t))))

(define-fun inv ((s S)) Bool
  (and (= (tomb s) (revoked s)) (=> (row s) (> (made s) (tomb s)))
       (=> (opened s) (and (row s) (<= (from s) (now s)) (< (now s) (til s)) (or (= (forp s) 0) (= (forp s) (why s)))))))

;! property no opening without a live grant, in its time and for its purpose
;! caught-by 3 4
(define-fun prop1 ((s S)) Bool
  (=> (opened s) (and (row s) (<= (from s) (now s)) (< (now s) (til s)) (or (= (forp s) 0) (= (forp s) (why s))))))
;! property no opening after a revocation, unless the owner granted anew since; replays do not bring it back
;! caught-by 1 2 5
(define-fun prop2 ((s S)) Bool (=> (opened s) (> (made s) (revoked s))))
;! reachable an opening after a revocation and a new grant
(define-fun reach1 ((s S)) Bool (and (opened s) (>= (revoked s) 0)))
